"""Each standby VM counts once for each maximum, whatever becomes of it: listed, unlisted, closed, taken or unknown."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.find_standby import FindStandby
from agent_stack.dispatcher.list_standby import ListStandby
from agent_stack.domain.classes import VmClass
from agent_stack.domain.errors import RetryError, UnknownOutcomeError
from agent_stack.domain.identifiers import Bucket, ClassName
from agent_stack.domain.measures import Metric
from agent_stack.domain.quotas import Ceiling
from agent_stack.domain.standby import Closing, StandbyVm
from agent_stack.domain.states import CapacityType, VmState
from tests.simulator.clock import EPOCH
from tests.simulator.memory import MemoryStandbyVms
from tests.unit.dispatcher.launching import Room
from tests.unit.dispatcher.parts import LARGE, SMALL, SilentInstanceTypes, a_book, a_class, an_intent
from tests.unit.dispatcher.standing_by import HOLD, HOUR, SECOND, StandingBy, hot
from tests.unit.values import a_policy, a_run, a_vm

OTHER = ClassName("other")
CHOSEN = ClassName("small/spot")
"""As a job names it that chose the market: it takes no standby VM, and shares the maximum of its class."""
CHOICE: dict[str, Any] = {"allowed_capacity_types": frozenset({CapacityType.SPOT})}


def with_idle(count: int, small: VmClass | None = None, *, closing: Closing | None = None, **policy: Any) -> Room:  # noqa: ANN401  (a policy's own)
    """A dispatcher that may launch, with that many standby VMs of two vCPUs each."""
    room = Room(**policy)
    room.fleet.shows = [
        a_vm(n, launched_at=EPOCH - HOUR, state=VmState.RUNNING, hold=HOLD, vcpus=2) for n in range(1, count + 1)
    ]
    vms = [StandbyVm.of(vm, class_name=SMALL, hold=HOLD, shape="shape") for vm in room.fleet.shows]
    room.pool.records.add([replace(vm, closing=closing) for vm in vms])
    room.book = a_book(small or hot(count), a_class(LARGE, instance_types=("m7i.4xlarge",)), a_class(OTHER))
    return room


def launches(room: Room, *names: ClassName) -> list[tuple[str, int]]:
    """What one cycle asks for, with one ready run of each of these classes."""
    runs = tuple(a_run(number, class_name=name) for number, name in enumerate(names, start=1))
    room.launch(begun(room, ready=runs, recorded=runs))
    return room.asked()


def begun(room: Room, **found: Any) -> DispatcherCycle:  # noqa: ANN401  (the cycle's own fields)
    """A cycle up to the step that finds standby VMs."""
    cycle = DispatcherCycle(**{"now": room.clock.now(), "fence": room.fence, "book": room.book, **found})
    room.pool.begin(cycle)
    return FindStandby(pool=room.pool, fleet=room.fleet)(cycle)


def test_what_was_asked_for_in_this_cycle_counts_once_for_max_vcpus() -> None:
    dispatcher = StandingBy(hot(2), max_vcpus=8)
    dispatcher.book = a_book(hot(2), replace(hot(2), name=OTHER))
    dispatcher.replenish(dispatcher.cycle())
    assert dispatcher.asked() == [(SMALL, 2), (OTHER, 2)]


def test_the_size_of_vms_to_stand_by_is_not_guessed() -> None:
    """Nothing of their class is up, and no job asks for it, so that nobody has needed their size before."""
    dispatcher = StandingBy(hot(2), max_vcpus=8)
    dispatcher.book = a_book(hot(1), replace(hot(2), name=OTHER, instance_types=("m7i.xlarge",)))
    dispatcher.replenish(dispatcher.cycle())
    assert dispatcher.asked() == [(SMALL, 1), (OTHER, 1)]


def test_until_ec2_has_said_the_size_of_standby_vms_no_job_gets_a_vm_beside_them() -> None:
    room = with_idle(2, max_vcpus=4)
    room.launch.vcpu_room.vcpus.instance_types = SilentInstanceTypes()
    assert launches(room, OTHER) == []


@pytest.mark.parametrize(("vcpus", "asked"), [(16, []), (2, [(OTHER, 1)]), (0, [])])
def test_a_standby_vm_whose_type_is_not_known_counts_as_ec2_shows_it_or_else_as_the_largest_of_its_class(
    vcpus: int, asked: list[tuple[str, int]]
) -> None:
    room = with_idle(1, hot(1, instance_types=("m7i.large", "m7i.4xlarge")), max_vcpus=17)
    (known,) = room.pool.records.listed()
    room.pool.records.remove([known.instance_id])
    room.pool.records.add([replace(known, instance_type="")])
    room.fleet.shows = [replace(vm, instance_type="", vcpus=vcpus) for vm in room.fleet.shows]
    assert launches(room, OTHER) == asked


@pytest.mark.parametrize("policy", [{}, {"max_vcpus": 4}, {"max_instances": 2}])
def test_a_vm_that_nothing_could_be_bound_to_counts_until_a_look_shows_more(policy: dict[str, Any]) -> None:
    dispatcher = StandingBy(hot(2), **policy)
    dispatcher.put(1, 2)
    dispatcher.cycle()
    dispatcher.pool.spoil([a_vm(1).instance_id])
    dispatcher.replenish(dispatcher.cycle(look=False))
    assert dispatcher.asked() == []


class NotWritable(MemoryStandbyVms):
    """A list that takes nothing."""

    def add(self, vms: Sequence[StandbyVm]) -> None:
        raise RetryError(f"{len(vms)} changes met conflicts")


def test_a_vm_that_cannot_be_put_on_the_list_counts_for_max_instances_although_ec2_does_not_show_it_yet() -> None:
    room = with_idle(0, max_instances=2)
    room.pool.records = NotWritable(store=room.store)
    launched = an_intent(spent=True, hold=HOLD, shape="shape", vms=(a_vm(1, launched_at=EPOCH),))
    listing = ListStandby(pool=room.pool, in_flight=room.in_flight, policy=a_policy(), telemetry=room.telemetry)
    cycle = FindStandby(pool=room.pool, fleet=room.fleet)(listing(begun(room, standby_launches=(launched,))))
    assert room.launch.room.instances(cycle) == 1


def test_a_standby_vm_that_a_job_of_this_cycle_gets_counts_once_for_max_vcpus() -> None:
    room = with_idle(1, max_vcpus=4)
    assert launches(room, SMALL, OTHER) == [(OTHER, 1)]


def test_a_standby_vm_that_is_closed_counts_for_max_vcpus_until_it_has_ended() -> None:
    room = with_idle(2, closing=Closing.PREEMPTED, max_vcpus=4)
    assert launches(room, OTHER, OTHER) == []


def test_jobs_alone_are_never_too_many_for_max_vcpus() -> None:
    """Also where the operator has lowered it after they were reserved."""
    room = with_idle(0, max_vcpus=2)
    assert launches(room, OTHER, OTHER) == [(OTHER, 1)]


@pytest.mark.parametrize("closing", [None, Closing.PREEMPTED])
def test_standby_vms_count_for_the_maximum_of_a_class_whose_job_chose_another_vm(closing: Closing | None) -> None:
    room = with_idle(2, hot(2, max_instances=2, **CHOICE), closing=closing)
    assert launches(room, CHOSEN) == []
    roomy = with_idle(2, hot(2, max_instances=3, **CHOICE), closing=closing)
    assert launches(roomy, CHOSEN) == [(CHOSEN, 1)]


def test_idle_vms_make_room_within_the_maximum_of_their_class_for_a_job_that_chose_another_vm() -> None:
    dispatcher = StandingBy(hot(2, max_instances=2, **CHOICE))
    dispatcher.put(1, 2)
    waits = (a_run(1, class_name=CHOSEN),)
    dispatcher.preempt(dispatcher.cycle(unmet={CHOSEN: 1}, active=waits))
    assert list(dispatcher.reasons().values()) == [Closing.PREEMPTED]
    dispatcher.preempt(dispatcher.cycle(unmet={CHOSEN: 1}, active=waits))
    assert len(dispatcher.reasons()) == 1, "while it leaves nothing more is ended"


def test_what_a_lost_answer_may_have_brought_counts_in_the_cycle_that_learns_of_it() -> None:
    room = with_idle(0)
    room.fleet.answers = [UnknownOutcomeError("the answer is lost")]
    room.in_flight.begin(an_intent(hold=HOLD, shape="shape"))
    room.workers.perform()
    assert room.cycle(book=room.book).standby_unconfirmed == {SMALL: 2}


def test_a_standby_vm_that_ec2_does_not_show_yet_is_no_end_that_makes_room_in_a_quota() -> None:
    bucket = Bucket("on-demand:standard")
    full = Ceiling(most=1, refused_at=EPOCH, code="VcpuLimitExceeded", message="", bound=2, tight=True, vms=1, vcpus=2)
    room = with_idle(0)
    memory = replace(room.store.launching, quotas={bucket: full})
    standing_by = StandbyVm.of(a_vm(1, launched_at=EPOCH), class_name=SMALL, hold=HOLD, shape="shape")
    cycle = replace(begun(room), standby={SMALL: (standing_by,)})
    watch = room.launch.quotas
    watch.vcpus.want(["m7i.large"], EPOCH)
    watch.watch(cycle, memory)
    seen = watch.watch(replace(cycle, now=EPOCH + SECOND), memory).quotas
    assert seen[bucket].ended_at is None
    later = replace(cycle, now=EPOCH + 6 * SECOND, standby={})
    watch.watch(later, memory)
    fresh = watch.watch(later, memory, [a_vm(1, launched_at=EPOCH)]).quotas
    assert fresh[bucket].ended_at is None


def test_the_time_of_a_vm_that_stands_by_is_counted_by_one_process_only() -> None:
    """Two processes take turns, and each would count the other's minute."""
    first, second = StandingBy(), StandingBy()
    for fence, dispatcher in enumerate([first, second, first], start=1):
        dispatcher.put(fence)
        for _ in range(2):
            dispatcher.replenish(dispatcher.cycle(fence=fence))
            first.clock.sleep(30 * SECOND)
            second.clock.sleep(30 * SECOND)
    counted = [one.telemetry.counts[Metric.STANDBY_VM_SECONDS] for one in (first, second)]
    assert counted == [30 + 2 * 30, 30], "one VM, later two; nothing for the other one's minute"


def test_a_process_that_has_the_next_lease_too_counts_up_to_two_minutes_between() -> None:
    dispatcher = StandingBy(hot(1))
    dispatcher.put(1)
    for fence in (1, 2):
        dispatcher.replenish(dispatcher.cycle(fence=fence))
        dispatcher.clock.sleep(timedelta(seconds=100))
    assert dispatcher.telemetry.counts[Metric.STANDBY_VM_SECONDS] == 100
