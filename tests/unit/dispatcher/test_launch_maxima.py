"""Jobs that were admitted within MaxVcpus and the maximum of their class, and would exceed it at their launch."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.quotas import held_since
from agent_stack.domain.runs import Run
from agent_stack.domain.states import CapacityType
from agent_stack.domain.waiting import WaitReason
from tests.simulator.clock import EPOCH
from tests.unit.dispatcher.launching import Room
from tests.unit.dispatcher.parts import LARGE, SMALL, a_book, a_class
from tests.unit.values import a_policy, a_run, a_vm

MIXED = ClassName("mixed")
SIZES = ("m7i.large", "m7i.4xlarge")
"""2 and 16 vCPUs."""

DEADLINE = a_policy().launch_deadline


def on(instance_type: str, number: int, class_name: ClassName = MIXED) -> Run:
    """A run with a VM of that type."""
    return a_run(number, class_name=class_name).bound(a_vm(number, instance_type=instance_type), now=EPOCH)


def a_room(**policy: Any) -> Room:  # noqa: ANN401  (a policy's own)
    room = Room(**policy)
    room.book = a_book(a_class(MIXED, instance_types=SIZES), a_class(SMALL), a_class(LARGE, instance_types=SIZES[1:]))
    return room


def launched(room: Room, wants: Sequence[Run], others: Sequence[Run] = ()) -> DispatcherCycle:
    """A cycle in which these runs want a VM, beside others."""
    for run in wants:
        if run.job_id not in {one.job_id for one in room.store.runs.values()}:
            room.ledger.record([run])
    return room.cycle(*wants, active=(*wants, *others))


def test_a_job_that_has_lost_a_small_vm_gets_no_large_one_beyond_max_vcpus() -> None:
    """It counted with its small VM when the other job was admitted, and EC2 may give it a large one now."""
    room = a_room(max_vcpus=18)
    cycle = launched(room, [a_run(1, class_name=MIXED)], [on("m7i.4xlarge", 2)])
    assert room.asked() == []
    assert cycle.unmet == {MIXED: 1}
    assert cycle.held_back == {MIXED: WaitReason.MAX_VCPUS}


def test_a_class_that_names_larger_types_meanwhile_gets_as_many_vms_as_fit() -> None:
    room = a_room(max_vcpus=40)
    cycle = launched(room, [a_run(number, class_name=LARGE) for number in range(1, 5)], [on("m7i.large", 9)])
    assert room.asked() == [(LARGE, 2)]
    assert cycle.unmet == {LARGE: 2}


def test_what_a_large_vm_has_no_room_for_goes_to_a_small_one() -> None:
    room = a_room(max_vcpus=20)
    launched(room, [a_run(1, class_name=LARGE), a_run(2, class_name=LARGE), a_run(3, class_name=SMALL)])
    assert room.asked() == [(LARGE, 1), (SMALL, 1)]


def test_all_names_of_a_class_whose_maximum_was_lowered_share_what_is_left() -> None:
    room = a_room()
    chosen = ClassName("small/spot")
    room.book = a_book(a_class(SMALL, max_instances=4, allowed_capacity_types=frozenset({CapacityType.SPOT})))
    wants = [a_run(n, class_name=name) for n, name in enumerate((SMALL, SMALL, chosen, chosen), start=1)]
    cycle = launched(room, wants, [on("m7i.large", 9, SMALL)])
    assert room.asked() == [(SMALL, 2), (chosen, 1)]
    assert cycle.held_back == {chosen: WaitReason.CLASS_MAXIMUM}


@pytest.mark.parametrize(("max_vcpus", "stands_still"), [(18, True), (8, False)])
def test_the_launch_deadline_stands_still_while_a_vm_may_end_that_leaves_the_room(
    max_vcpus: int, *, stands_still: bool
) -> None:
    """A job whose VM never fits is given up as ever, with the reason."""
    room = a_room(max_vcpus=max_vcpus)
    wants, others = [a_run(1, class_name=LARGE)], [on("m7i.large", 2), on("m7i.large", 3)]
    for _ in range(round(DEADLINE.total_seconds()) + 15):
        launched(room, wants, others)
        room.clock.sleep(timedelta(seconds=1))
    memory = room.store.launching
    assert held_since(memory.preempting, EPOCH) >= (DEADLINE if stands_still else timedelta())
    writes = room.journal.count("remember_launches")
    assert 0 < writes < DEADLINE.total_seconds() / 5 if stands_still else not writes
    (run,) = room.store.runs.values()
    assert (run.failure_reason is None) == stands_still
    assert stands_still or "MaxVcpus" in str(run.failure_reason)


@pytest.mark.parametrize("running", [0, 1])
@pytest.mark.parametrize("by_class", [False, True])
def test_a_job_waits_for_vms_to_end_and_not_for_a_job_that_only_waits_itself(*, running: int, by_class: bool) -> None:
    """Seed 70071: EC2 refused the one for its quota, and both waited for ever, each with the other as the reason."""
    room = a_room(**({} if by_class else {"max_vcpus": 16 * (1 + running)}))
    if by_class:
        room.book = a_book(a_class(LARGE, instance_types=SIZES[1:], max_instances=1 + running))
    others = [on("m7i.4xlarge", 9, LARGE)] * running
    cycle = launched(room, [a_run(1, class_name=LARGE), a_run(2, class_name=LARGE)], others)
    assert room.asked() == [(LARGE, 1)]
    assert cycle.held_back.keys() == {LARGE}
    assert bool(room.store.launching.preempting) == bool(running)


@pytest.mark.parametrize("by_class", [False, True])
def test_nor_for_one_whose_vm_is_only_on_its_way(*, by_class: bool) -> None:
    room = a_room(**({} if by_class else {"max_vcpus": 16}))
    if by_class:
        room.book = a_book(a_class(LARGE, instance_types=SIZES[1:], max_instances=1))
    cycle = launched(room, [a_run(1, class_name=LARGE)], [a_run(2, class_name=LARGE)])
    assert room.asked() == []
    assert cycle.held_back.keys() == {LARGE}
    assert room.store.launching.preempting == ()


@pytest.mark.parametrize("members", [{"max_vcpus": 17}, {}])
def test_a_job_that_is_being_finished_counts_while_it_has_its_vm(members: dict[str, int]) -> None:
    room = a_room(**members)
    room.book = a_book(a_class(LARGE, instance_types=SIZES[1:], max_instances=None if members else 1))
    ending = on("m7i.4xlarge", 2, LARGE).finishing("no agent", now=EPOCH)
    launched(room, [a_run(1, class_name=LARGE)], [ending])
    assert room.asked() == []
    launched(room, [a_run(1, class_name=LARGE)], [a_run(2, class_name=LARGE).failing("too late")])
    assert room.asked() == [(LARGE, 1)]


def test_a_maximum_that_is_exceeded_already_starts_nothing_more() -> None:
    room = a_room(max_vcpus=8)
    launched(room, [a_run(1, class_name=SMALL)], [on("m7i.4xlarge", 2)])
    assert room.asked() == []


@pytest.mark.parametrize("removed", [False, True])
def test_what_is_on_its_way_counts_as_it_was_asked_for_whatever_its_class_names_now(*, removed: bool) -> None:
    room = a_room(max_vcpus=18)
    small_now = a_class(MIXED, instance_types=SIZES[:1])
    room.book = a_book(a_class(SMALL), *(() if removed else (small_now,)))
    comes, wants = a_run(1, class_name=MIXED), a_run(2, class_name=SMALL)
    asked: dict[str, Any] = {
        "types_on_their_way": {MIXED: frozenset({"m7i.4xlarge"})},
        "unconfirmed": 1,
        "unconfirmed_by_class": {MIXED: 1},
    }
    room.cycle(wants, active=(comes, wants, on("m7i.large", 3, SMALL)), **asked)
    assert room.asked() == []
    room.cycle(wants, active=(comes, wants), **asked)
    assert room.asked() == [(SMALL, 1)]
