"""How many jobs a cycle works on: what earlier cycles took, measured where it says something."""

from datetime import timedelta

import pytest

from agent_stack.dispatcher.cycle import FIRST_ROOM, DispatcherCycle
from agent_stack.dispatcher.cycle_room import CYCLE, FEWEST, MOST, WORK, CycleRoom, room_after
from agent_stack.lease_loop import LEASE
from tests.simulator.clock import EPOCH
from tests.unit.values import a_run, a_vm

SECOND = timedelta(seconds=1)


def learnt(*cycles: tuple[int, float], read: float = 0.0) -> int:
    """The room after cycles that reserved so many jobs in so many seconds, each after reading for so long."""
    room, began = CycleRoom(), 100 * SECOND
    for reserved, seconds in cycles:
        work_began = began + read * SECOND
        cycle = DispatcherCycle(now=EPOCH, fence=1, began=began, work_began=work_began, reserved=reserved)
        room.learn(cycle, work_began + seconds * SECOND)
    return room.jobs


def test_a_process_that_measured_nothing_works_on_as_many_as_buildkite_reserves_at_once() -> None:
    assert learnt() == FIRST_ROOM == 1_000


@pytest.mark.parametrize(("reserved", "seconds", "room"), [(1_000, 5.0, 800), (1_000, 1.0, 4_000), (500, 2.5, 800)])
def test_the_next_cycle_works_on_as_many_as_fit_into_its_seconds(reserved: int, seconds: float, room: int) -> None:
    assert learnt((reserved, seconds)) == room


def test_a_binding_counts_as_a_reservation_does() -> None:
    room = CycleRoom()
    bound = tuple(a_run(number).bound(a_vm(number), now=EPOCH) for number in range(500))
    room.learn(DispatcherCycle(now=EPOCH, fence=1, reserved=500, bound=bound), 5 * SECOND)
    assert room.jobs == 800


def test_one_slow_cycle_is_half_of_what_is_believed() -> None:
    assert learnt((1_000, 2.0), (2_000, 12.0)) == 1_000  # 2 and 6 ms of a job


def test_a_few_jobs_say_nothing_about_many_because_each_request_takes_its_time() -> None:
    assert learnt((FEWEST - 1, 2.0)) == FIRST_ROOM
    assert learnt((400, 2.0)) == FIRST_ROOM


def test_a_few_jobs_that_took_too_long_all_the_same_do() -> None:
    assert learnt((400, 8.0)) == 200


@pytest.mark.parametrize(("reserved", "seconds", "room"), [(1_000, 900.0, FEWEST), (10_000, 0.001, MOST)])
def test_there_is_a_fewest_and_a_most(reserved: int, seconds: float, room: int) -> None:
    assert learnt((reserved, seconds)) == room


@pytest.mark.parametrize(("read", "room"), [(0.0, 1_000), (4.0, 1_000), (6.0, 500), (7.0, 250), (60.0, 250)])
def test_a_cycle_that_has_read_for_long_works_on_fewer_but_always_on_some(read: float, room: int) -> None:
    assert room_after(read * SECOND, 1_000) == room


def test_what_a_cycle_read_is_no_part_of_what_its_jobs_took() -> None:
    assert learnt((1_000, 5.0), read=60.0) == learnt((1_000, 5.0)) == 800


def test_a_cycle_ends_within_its_lease() -> None:
    assert WORK < CYCLE < LEASE
