"""What one dispatcher process knows of the idle standby VMs, from which look, and what it adds itself."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.dispatcher.standby_pool import LOOK_EVERY, LOOK_SOON, RECENT, RETRY_AFTER
from agent_stack.domain.errors import RetryError
from agent_stack.domain.standby import Closing
from agent_stack.domain.states import VmState
from agent_stack.ports import Task
from tests.unit.dispatcher.parts import SMALL, ByHand, a_book, a_class
from tests.unit.dispatcher.standing_by import HOUR, SECOND, StandingBy
from tests.unit.values import a_job, a_run, a_vm


def looks(dispatcher: StandingBy) -> int:
    return dispatcher.fleet.journal.count("describe_by_id")


def after(dispatcher: StandingBy, passed: timedelta, **found: Any) -> int:  # noqa: ANN401  (the cycle's own fields)
    """How often it has looked, that much later."""
    dispatcher.clock.sleep(passed)
    dispatcher.cycle(**found)
    return looks(dispatcher)


def test_idle_vms_are_looked_at_every_thirty_seconds_and_those_that_boot_every_five() -> None:
    dispatcher = StandingBy()
    dispatcher.put(1, 2)
    dispatcher.cycle()
    assert [after(dispatcher, LOOK_EVERY - SECOND), after(dispatcher, SECOND)] == [1, 2]
    dispatcher.put(3, age=SECOND)
    after(dispatcher, LOOK_EVERY)
    assert [after(dispatcher, LOOK_SOON - SECOND), after(dispatcher, SECOND)] == [3, 4]


def test_a_vm_that_is_closed_is_looked_at_soon_until_it_has_ended() -> None:
    dispatcher = StandingBy()
    (vm,) = dispatcher.put(1)
    dispatcher.cycle()
    assert dispatcher.pool.close([replace(vm, closing=Closing.AGE)])
    assert after(dispatcher, LOOK_SOON) == 2
    dispatcher.fleet.shows = [replace(dispatcher.fleet.shows[0], state=VmState.TERMINATED)]
    after(dispatcher, LOOK_SOON)
    assert dispatcher.records.listed() == []
    assert not dispatcher.pool.take_ended(), "it was closed, so nothing is wrong with it"


def test_without_a_class_that_wants_them_a_process_looks_once_and_nobody_waits_for_that() -> None:
    workers = ByHand()
    dispatcher = StandingBy(workers=workers)
    dispatcher.book = a_book(a_class(SMALL))
    assert dispatcher.cycle().standby_ids == frozenset()
    assert dispatcher.pool._look is not None
    assert workers.waited == []
    workers.perform()
    for fence in (dispatcher.fence, dispatcher.fence + 1, dispatcher.fence + 3):
        dispatcher.fence = fence
        assert dispatcher.cycle().standby_ids == frozenset()
        assert dispatcher.pool._look is None


def test_a_new_process_closes_the_vms_that_no_class_wants_any_more() -> None:
    """Seed 70608: they were up until their hold was over, for hours."""
    dispatcher = StandingBy()
    dispatcher.put(1)
    dispatcher.book = a_book(a_class(SMALL))
    dispatcher.replenish(dispatcher.cycle())
    assert dispatcher.reasons() == {a_vm(1).instance_id: Closing.SCALE_DOWN}


def test_before_the_first_look_under_a_lease_nobody_knows_what_is_up() -> None:
    dispatcher = StandingBy(workers=ByHand())
    dispatcher.put(1)
    assert dispatcher.cycle().standby_ids is None


def test_a_new_lease_looks_at_once_and_meanwhile_jobs_may_try_what_was_known_shortly_before() -> None:
    workers = ByHand()
    dispatcher = StandingBy(workers=workers)
    dispatcher.put(1)
    dispatcher.cycle()
    workers.perform()
    assert [vm.instance_id for vm in dispatcher.cycle().standby[SMALL]] == [a_vm(1).instance_id]
    dispatcher.fence += 1
    dispatcher.clock.sleep(RECENT - SECOND)
    cycle = dispatcher.cycle()
    assert cycle.standby_ids is None, "another process may have added some"
    assert [vm.instance_id for vm in cycle.standby[SMALL]] == [a_vm(1).instance_id]
    dispatcher.clock.sleep(SECOND)
    assert dispatcher.cycle().standby == {}, "too long ago"


def test_a_look_that_began_under_another_lease_says_nothing() -> None:
    workers = ByHand()
    dispatcher = StandingBy(workers=workers)
    dispatcher.put(1)
    dispatcher.cycle()
    dispatcher.fence += 1
    workers.perform()
    assert dispatcher.cycle(look=False).standby_ids is None


def test_a_look_that_fails_keeps_what_is_known_and_is_repeated_after_a_pause() -> None:
    dispatcher = StandingBy()
    dispatcher.put(1)
    dispatcher.cycle()
    dispatcher.fleet.look = RetryError("throttled")
    after(dispatcher, LOOK_EVERY)
    assert dispatcher.telemetry.messages("INFO").count("standby_vms_unknown") == 1
    assert SMALL in dispatcher.cycle().standby
    before = looks(dispatcher)
    assert [after(dispatcher, RETRY_AFTER - SECOND), after(dispatcher, SECOND)] == [before, before + 1]


@pytest.mark.parametrize("under", ["the same lease", "a new lease"])
def test_what_was_added_or_given_during_a_look_is_not_undone_by_its_answer(under: str) -> None:
    """Otherwise a VM that is listed meanwhile counts for nothing, and another one is asked for."""
    workers = ByHand()
    dispatcher = StandingBy(workers=workers)
    dispatcher.put(1)
    dispatcher.cycle()
    workers.perform()
    dispatcher.cycle()
    dispatcher.clock.sleep(LOOK_EVERY)
    dispatcher.fence += under == "a new lease"
    dispatcher.cycle()  # a look is on its way
    workers.perform()
    dispatcher.pool.give([a_vm(1).instance_id])
    added = dispatcher.put(2)
    dispatcher.pool.add(added)
    assert [vm.instance_id for vm in dispatcher.cycle().standby[SMALL]] == [a_vm(2).instance_id]
    assert [vm.instance_id for vm in dispatcher.records.listed()] == [a_vm(2).instance_id]


def test_a_clock_that_is_set_back_keeps_no_change_from_an_earlier_look() -> None:
    dispatcher = StandingBy()
    dispatcher.pool.add(dispatcher.put(1))
    dispatcher.cycle()
    dispatcher.clock.set_back(HOUR)
    dispatcher.records.remove([a_vm(1).instance_id])  # another process gave it a job
    dispatcher.clock.sleep(LOOK_EVERY)
    assert dispatcher.cycle().standby == {}


def test_a_vm_that_a_job_has_is_no_standby_vm_and_comes_off_the_list() -> None:
    """A process died between the binding and its removal from the list."""
    dispatcher = StandingBy()
    dispatcher.put(1, 2)
    run = a_run(1, class_name=SMALL).bound(a_vm(1), now=dispatcher.clock.now())
    cycle = dispatcher.cycle(active=(run,))
    assert [vm.instance_id for vm in cycle.standby[SMALL]] == [a_vm(2).instance_id]
    assert [vm.instance_id for vm in dispatcher.records.listed()] == [a_vm(2).instance_id]


def test_a_vm_to_which_nothing_could_be_bound_is_left_alone_until_the_next_look() -> None:
    dispatcher = StandingBy()
    dispatcher.put(1)
    dispatcher.cycle()
    dispatcher.pool.spoil([a_vm(1).instance_id])
    assert dispatcher.cycle().standby == {}
    dispatcher.clock.sleep(LOOK_SOON)
    assert SMALL in dispatcher.cycle().standby


def test_a_vm_that_ended_by_itself_is_told_once_with_ec2_s_reason() -> None:
    dispatcher = StandingBy()
    dispatcher.put(1, 2)
    dispatcher.cycle()
    first, second = dispatcher.fleet.shows
    dispatcher.fleet.shows = [replace(first, state=VmState.TERMINATED, reason="Client.Power"), second]
    after(dispatcher, LOOK_EVERY)
    assert [(one.vm.instance_id, one.reason) for one in dispatcher.pool.take_ended()] == [
        (a_vm(1).instance_id, "Client.Power")
    ]
    assert dispatcher.pool.take_ended() == []
    assert [vm.instance_id for vm in dispatcher.records.listed()] == [a_vm(2).instance_id]


@pytest.mark.parametrize("back", [HOUR, 24 * HOUR])
def test_a_clock_that_is_set_back_keeps_no_vm_from_being_looked_at(back: timedelta) -> None:
    dispatcher = StandingBy()
    dispatcher.put(1)
    dispatcher.cycle()
    dispatcher.clock.set_back(back)
    assert after(dispatcher, SECOND) == 2


class Answering(ByHand):
    """Workers that do what they were given while somebody waits for it."""

    def wait(self, tasks: Sequence[Task[Any]], at_most: timedelta) -> None:
        super().wait(tasks, at_most)
        self.perform()


def test_the_first_look_under_a_lease_is_waited_for_without_jobs_too() -> None:
    """With push an invocation ends with its first cycle, so a look that comes later replenishes nothing."""
    workers = Answering()
    dispatcher = StandingBy(workers=workers)
    dispatcher.put(1)
    assert dispatcher.cycle().standby_ids is not None
    dispatcher.clock.sleep(LOOK_EVERY)
    dispatcher.cycle()
    assert len(workers.waited) == 1, "later looks under the same lease are taken in when they are there"


@pytest.mark.parametrize(("members", "policy"), [({}, {"max_vcpus": 8}), ({"max_instances": 4}, {})])
def test_vms_that_no_class_wants_any_more_are_looked_for_once_under_a_lease_when_a_job_may_need_their_room(
    members: dict[str, Any], policy: dict[str, Any]
) -> None:
    dispatcher = StandingBy(**policy)
    dispatcher.put(1)
    dispatcher.book = a_book(a_class(SMALL, **members))
    dispatcher.cycle()
    assert looks(dispatcher) == 1, "a process looks once in any case"
    dispatcher.fence += 1
    dispatcher.pool._vms.clear()  # as if it had seen none
    dispatcher.cycle()
    assert looks(dispatcher) == 1, "without a job nobody asks"
    cycle = dispatcher.cycle(look=False, listed=(a_job(),))
    assert cycle.standby_ids == frozenset({a_vm(1).instance_id})
    dispatcher.fence += 1
    dispatcher.fleet.shows = [replace(dispatcher.fleet.shows[0], state=VmState.TERMINATED)]
    assert dispatcher.cycle(active=(a_run(1),)).standby_ids == frozenset()
    dispatcher.put(2)
    assert after(dispatcher, LOOK_EVERY, active=(a_run(1),)) == 3, "nobody else adds any under this lease"
