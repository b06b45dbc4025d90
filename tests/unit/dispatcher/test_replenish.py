"""What is asked for to stand by, when, and what is ended instead."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.list_standby import ListStandby
from agent_stack.dispatcher.replenish import PLAN_EVERY
from agent_stack.dispatcher.standby_troubles import BY_ITSELF, SEEN_WITHIN
from agent_stack.domain.attempts import Failure, FailureKind
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.errors import RetryError
from agent_stack.domain.identifiers import IntentId, QueueKey
from agent_stack.domain.launching import Intent, LaunchOrder
from agent_stack.domain.measures import Metric
from agent_stack.domain.pauses import OperatorPause, Pauses
from agent_stack.domain.runs import Run
from agent_stack.domain.standby import Closing, StandbyVm
from agent_stack.domain.standby_trouble import SUSPENDED_FOR, Trouble
from agent_stack.domain.states import VmState
from agent_stack.domain.waiting import WaitReason
from tests.simulator.clock import EPOCH
from tests.simulator.memory import MemoryStandbyVms
from tests.unit.dispatcher.parts import LARGE, SMALL, ByHand, a_book, a_class
from tests.unit.dispatcher.standing_by import HOUR, QUEUE, SECOND, StandingBy, hot
from tests.unit.values import a_policy, a_run, a_vm

LEAD = a_class(SMALL).boot_timeout
MINUTE = timedelta(minutes=1)


class NotWritable(MemoryStandbyVms):
    """A list that takes nothing."""

    def add(self, vms: Sequence[StandbyVm]) -> None:
        raise RetryError(f"{len(vms)} changes met conflicts")


def a_miss(dispatcher: StandingBy) -> Run:
    """A run that has just lost its standby VM."""
    taken = a_run(9, class_name=SMALL).bound(replace(a_vm(9), hold=HOUR), now=EPOCH)
    return taken.requeued(Failure(kind=FailureKind.TIMEOUT, words="silent"), now=dispatcher.clock.now())


def once(dispatcher: StandingBy, **found: Any) -> int:  # noqa: ANN401  (the cycle's own fields)
    """One cycle; how many VMs are asked for in it."""
    return dispatcher.replenish(dispatcher.cycle(**found)).launching


def test_what_is_missing_is_asked_for_once_with_its_hold() -> None:
    dispatcher = StandingBy(hot(3))
    dispatcher.put(1)
    assert once(dispatcher) == 2
    assert once(dispatcher) == 0, "it is coming"
    assert dispatcher.asked() == [(SMALL, 2)]
    (order,) = dispatcher.fleet.orders
    assert order.hold is not None
    assert 3.2 * HOUR <= order.hold <= 4.8 * HOUR


def test_vms_that_a_lost_answer_may_have_brought_are_not_asked_for_again() -> None:
    assert once(StandingBy(hot(3)), standby_unconfirmed={SMALL: 2}) == 1
    assert once(StandingBy(hot(3)), standby_answered={SMALL: 3}) == 0


def test_vms_that_cannot_be_put_on_the_list_now_are_not_asked_for_again() -> None:
    """EC2 has launched them, and the ledger does not take them at the moment."""
    dispatcher = StandingBy(hot(3))
    listing = ListStandby(
        pool=dispatcher.pool, in_flight=dispatcher.in_flight, policy=a_policy(), telemetry=dispatcher.telemetry
    )
    launched = Intent(
        intent_id=IntentId("as-1"),
        class_name=SMALL,
        request="{}",
        count=3,
        queues=(QUEUE,),
        created_at=EPOCH,
        spent=True,
        vms=tuple(a_vm(number, launched_at=EPOCH) for number in (1, 2, 3)),
        hold=HOUR,
        shape="shape",
    )
    dispatcher.cycle()
    dispatcher.pool.records = NotWritable(store=dispatcher.store)
    cycle = listing(dispatcher.cycle(standby_launches=(launched,)))
    assert dispatcher.replenish(cycle).launching == 0
    assert "standby_not_listed" in dispatcher.telemetry.messages("INFO")


def test_an_intent_that_cannot_be_written_does_not_make_the_dispatcher_forget_what_it_sent() -> None:
    dispatcher = StandingBy(hot(2))
    dispatcher.book = a_book(hot(2), replace(hot(1), name=LARGE))
    sent = dispatcher.replenish.send

    def first_only(order: LaunchOrder, cycle: DispatcherCycle, *, queues: tuple[QueueKey, ...]) -> bool:
        return order.vm_class.name == SMALL and sent(order, cycle, queues=queues)

    dispatcher.replenish.send = first_only  # type: ignore[assignment]  # the ledger fails after the first
    assert once(dispatcher) == 2
    assert dispatcher.store.launching.asked_within_a_minute(dispatcher.clock.now()) == 2


def test_a_miss_is_counted_however_soon_the_run_has_another_vm() -> None:
    """EC2 answers in less time than lies between two plans."""
    dispatcher = StandingBy(hot(1))
    dispatcher.put(1)
    once(dispatcher)
    dispatcher.clock.sleep(SECOND)
    lost = a_miss(dispatcher)
    once(dispatcher, look=False, active=(lost,))
    assert dispatcher.store.launching.standby[SMALL].misses == 1
    dispatcher.clock.sleep(SECOND)
    once(dispatcher, look=False, active=(lost.bound(a_vm(8), now=dispatcher.clock.now()),))
    dispatcher.clock.sleep(PLAN_EVERY)
    once(dispatcher, look=False, active=(lost,))
    assert dispatcher.store.launching.standby[SMALL].misses == 1, "once"


def test_a_miss_is_counted_before_the_first_look_under_a_lease() -> None:
    dispatcher = StandingBy(hot(1), workers=ByHand())
    once(dispatcher, active=(a_miss(dispatcher),))
    assert dispatcher.store.launching.standby[SMALL].misses == 1


@pytest.mark.parametrize(
    "found",
    [
        {"unmet": {LARGE: 1}},
        {"lacking": frozenset({(LARGE, WaitReason.MAX_INSTANCES)})},
        {"lacking": frozenset({(LARGE, WaitReason.LAUNCH_RATE)})},
        {"lacking": frozenset({(LARGE, WaitReason.QUOTA)})},
        {"paused": frozenset({QUEUE})},
    ],
)
def test_while_jobs_wait_for_room_or_no_queue_may_start_jobs_nothing_is_asked_for(found: Mapping[str, Any]) -> None:
    assert once(StandingBy(), **found) == 0


def test_a_pause_of_everything_asks_for_nothing_and_ends_nothing() -> None:
    dispatcher = StandingBy(hot(2))
    dispatcher.put(1)
    pauses = Pauses(paused={"*": OperatorPause(since=EPOCH)})
    dispatcher.in_flight.permission.observe(pauses, dispatcher.clock.monotonic())
    assert once(dispatcher) == 0
    assert dispatcher.reasons() == {}


def test_launch_enabled_false_ends_all_idle_vms_and_asks_for_none() -> None:
    dispatcher = StandingBy(launch_enabled=False)
    dispatcher.put(1, 2)
    assert once(dispatcher) == 0
    assert dispatcher.reasons() == {
        a_vm(1).instance_id: Closing.LAUNCHES_OFF,
        a_vm(2).instance_id: Closing.LAUNCHES_OFF,
    }
    assert dispatcher.asked() == []


def test_launch_enabled_false_ends_the_idle_vms_of_a_broken_class_too() -> None:
    dispatcher = StandingBy(launch_enabled=False)
    dispatcher.put(1)
    error: Any = ValueError("no such image")
    dispatcher.book = replace(a_book(replace(hot(1), name=LARGE)), broken={SMALL: error})
    once(dispatcher)
    assert dispatcher.reasons() == {a_vm(1).instance_id: Closing.LAUNCHES_OFF}


def test_a_class_that_wants_none_any_more_or_is_gone_loses_its_vms_and_a_broken_one_keeps_them() -> None:
    plain, gone, broken = StandingBy(), StandingBy(), StandingBy()
    for dispatcher in (plain, gone, broken):
        dispatcher.put(1)
        once(dispatcher)
        dispatcher.clock.sleep(PLAN_EVERY)
    plain.book = a_book(a_class(SMALL), a_class(LARGE))
    gone.book = a_book(a_class(LARGE))
    error: Any = ValueError("no such image")
    broken.book = replace(a_book(a_class(LARGE)), broken={SMALL: error})
    for dispatcher in (plain, gone, broken):
        once(dispatcher)
    assert [list(one.reasons().values()) for one in (plain, gone, broken)] == [
        [Closing.SCALE_DOWN],
        [Closing.SCALE_DOWN],
        [],
    ]


def test_a_suspended_class_has_none_until_its_time_is_over() -> None:
    trouble = Trouble(at=EPOCH).missed(3, latest=EPOCH, now=EPOCH)
    dispatcher = StandingBy(memory=LaunchMemory(standby={SMALL: trouble}))
    dispatcher.put(1)
    assert once(dispatcher) == 0
    assert dispatcher.reasons() == {a_vm(1).instance_id: Closing.MISSES}
    dispatcher.clock.sleep(SUSPENDED_FOR)
    assert once(dispatcher) == 2


def test_a_class_whose_vms_end_unprepared_asks_for_none_until_its_pause_is_over_and_keeps_those_that_are_up() -> None:
    dispatcher = StandingBy(memory=LaunchMemory(standby={SMALL: Trouble(at=EPOCH, retry_at=EPOCH + MINUTE)}))
    dispatcher.put(1, age=SECOND)
    assert once(dispatcher) == 0
    assert dispatcher.reasons() == {}
    dispatcher.clock.sleep(MINUTE)
    assert once(dispatcher) == 1


@pytest.mark.parametrize(
    ("reason", "lived", "counted"),
    [
        (BY_ITSELF, timedelta(seconds=30), 1),
        (BY_ITSELF, LEAD + SEEN_WITHIN, 1),
        (BY_ITSELF, LEAD + SEEN_WITHIN + SECOND, 0),
        ("Server.SpotInstanceTermination", timedelta(seconds=30), 0),
        ("Client.UserInitiatedShutdown", timedelta(seconds=30), 0),
    ],
)
def test_only_a_vm_that_powered_itself_off_before_it_was_prepared_says_that_its_class_cannot_boot(
    reason: str, lived: timedelta, counted: int
) -> None:
    dispatcher = StandingBy()
    dispatcher.put(1, age=timedelta())
    dispatcher.cycle()
    (vm,) = dispatcher.fleet.shows
    dispatcher.clock.sleep(lived)
    dispatcher.fleet.shows = [replace(vm, state=VmState.TERMINATED, reason=reason)]
    dispatcher.replenish.troubles.pool._valid = None  # a look is due
    dispatcher.replenish(dispatcher.cycle())
    trouble = dispatcher.store.launching.standby.get(SMALL)
    assert (0 if trouble is None else trouble.unprepared) == counted


def test_no_more_than_the_class_may_have() -> None:
    dispatcher = StandingBy(hot(5, max_instances=3))
    dispatcher.put(1)
    assert once(dispatcher) == 2


def test_no_more_than_the_deployment_may_have() -> None:
    dispatcher = StandingBy(hot(5), max_instances=3)
    dispatcher.put(1)
    assert once(dispatcher) == 2


def test_a_plan_is_made_when_something_changes_and_every_five_seconds() -> None:
    dispatcher = StandingBy(hot(1))
    dispatcher.put(1)
    once(dispatcher)
    dispatcher.book = a_book(hot(0), a_class(LARGE))
    dispatcher.clock.sleep(PLAN_EVERY - SECOND)
    once(dispatcher, look=False)
    assert dispatcher.reasons() == {}
    dispatcher.clock.sleep(SECOND)
    once(dispatcher, look=False)
    assert list(dispatcher.reasons().values()) == [Closing.SCALE_DOWN]


def test_a_clock_that_is_set_back_keeps_no_plan_from_being_made() -> None:
    dispatcher = StandingBy(hot(1))
    dispatcher.put(1)
    once(dispatcher)
    dispatcher.book = a_book(hot(0), a_class(LARGE))
    dispatcher.clock.set_back(HOUR)
    once(dispatcher, look=False)
    assert list(dispatcher.reasons().values()) == [Closing.SCALE_DOWN]


def test_the_time_for_which_vms_stand_by_is_counted() -> None:
    dispatcher = StandingBy()
    dispatcher.put(1, 2)
    once(dispatcher)
    dispatcher.clock.sleep(timedelta(seconds=3))
    once(dispatcher)
    assert dispatcher.telemetry.counts[Metric.STANDBY_VM_SECONDS] == 6
    assert dispatcher.telemetry.counts[Metric.VCPU_SECONDS] == 12, "EC2 bills them too, and no tracker is busy"
