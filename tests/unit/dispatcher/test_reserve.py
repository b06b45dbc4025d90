"""When jobs are reserved, and when what was reserved before will do."""

from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.reserve import MAX_RESERVATION_AGE, Reserve
from agent_stack.domain.identifiers import QueueKey
from agent_stack.domain.policy import Policy
from agent_stack.domain.runs import Run
from tests.contract.stacks import QUEUE, Desk, a_desk
from tests.contract.tables import MemoryTables
from tests.simulator.buildkite import Operation, Step
from tests.unit.tracker.parts import ScriptedStacks
from tests.unit.values import a_job, a_policy, a_run

SECOND = timedelta(seconds=1)


class Room:
    """The stage between Buildkite and the ledger."""

    def __init__(self, stack: ExitStack, **policy: object) -> None:
        self.desk: Desk = a_desk(stack).registered()
        self.policy: Policy = a_policy(**policy)
        self.tables = MemoryTables()
        self.reserve = Reserve(
            stacks=self.desk.client, ledger=self.tables.ledger, policy=self.policy, telemetry=self.desk.telemetry
        )

    def recorded(self, count: int = 1) -> tuple[Run, ...]:
        """Runs of new jobs, nothing asked of Buildkite yet."""
        jobs = [a_job(job_id=job_id) for job_id in self.desk.push(*[Step()] * count)]
        run = a_run()
        wanted = [
            Run.of(job, class_name=run.class_name, now=self.desk.clock.now(), failure_reason=None) for job in jobs
        ]
        return tuple(self.tables.ledger.record(wanted))

    def cycle(self, **found: object) -> DispatcherCycle:
        """One cycle, now."""
        return self.reserve(replace(DispatcherCycle(now=self.desk.clock.now(), fence=1), **found))  # type: ignore[arg-type]  # the cycle's own fields

    @property
    def asked(self) -> int:
        return self.desk.requests(Operation.RESERVE_JOBS)


def test_what_waits_for_ec2_is_reserved_and_recorded_once_a_minute() -> None:
    with ExitStack() as stack:
        room = Room(stack)
        (run,) = room.cycle(recorded=room.recorded()).ready
        room.desk.clock.sleep(MAX_RESERVATION_AGE - SECOND)
        assert room.cycle(active=(run,)).ready == (run,)
        assert room.asked == 1
        room.desk.clock.sleep(SECOND)
        (again,) = room.cycle(active=(run,)).ready
        assert room.asked == 2
        assert again.reserved_until == room.desk.clock.now() + room.policy.reservation


def test_a_short_reservation_is_never_more_than_a_quarter_old() -> None:
    with ExitStack() as stack:
        room = Room(stack, reservation=timedelta(seconds=40))
        (run,) = room.cycle(recorded=room.recorded()).ready
        room.desk.clock.sleep(timedelta(seconds=10))
        room.cycle(active=(run,))
        assert room.asked == 2


@pytest.mark.parametrize("change", [{"reserved_until": None}, {"reservation_lost": True}])
def test_a_run_whose_reservation_is_not_sure_is_reserved(change: dict[str, object]) -> None:
    with ExitStack() as stack:
        room = Room(stack)
        (run,) = room.cycle(recorded=room.recorded()).ready
        room.cycle(active=(replace(run, **change),))  # type: ignore[arg-type]  # a run's own fields
        assert room.asked == 2


def test_a_reservation_that_says_it_was_granted_later_than_now_is_not_believed() -> None:
    with ExitStack() as stack:
        room = Room(stack)
        (run,) = room.cycle(recorded=room.recorded()).ready
        longer = replace(run, reserved_until=room.desk.clock.now() + 2 * room.policy.reservation)
        room.cycle(active=(longer,))
        assert room.asked == 2


def test_a_paused_queue_gives_nothing_to_launch_however_fresh_its_reservations() -> None:
    with ExitStack() as stack:
        room = Room(stack)
        (run,) = room.cycle(recorded=room.recorded()).ready
        assert room.cycle(active=(run,), paused=frozenset({QUEUE})).ready == ()
        assert room.cycle(active=(run,), paused=frozenset({QueueKey("another")})).ready == (run,)


def test_those_that_buildkite_refuses_are_released_and_the_others_go_on() -> None:
    with ExitStack() as stack:
        room = Room(stack)
        first, second = room.recorded(2)
        room.desk.buildkite.cancel_job(first.job_id)
        assert [run.job_id for run in room.cycle(recorded=(first, second)).ready] == [second.job_id]
        assert [run.job_id for run in room.tables.ledger.active_runs()] == [second.job_id]


def test_high_priority_goes_first_whether_reserved_before_or_now() -> None:
    with ExitStack() as stack:
        room = Room(stack)
        low, high = room.recorded(2)
        (low,) = room.cycle(recorded=(low,)).ready
        ready = room.cycle(active=(low,), recorded=(replace(high, priority=5),)).ready
        assert [run.job_id for run in ready] == [high.job_id, low.job_id]


def test_a_cycle_renews_no_more_reservations_than_it_has_room_for_and_the_first_in_line_first() -> None:
    with ExitStack() as stack:
        room = Room(stack)
        runs = room.cycle(recorded=room.recorded(5)).ready
        urgent = replace(runs[3], priority=9)
        room.desk.clock.sleep(MAX_RESERVATION_AGE)
        waiting = (*runs[:3], urgent, runs[4])
        cycle = room.cycle(active=waiting, room=2)
        assert [run.job_id for run in cycle.ready] == [urgent.job_id, runs[0].job_id]
        assert cycle.reserved == 2
        renewed = {run.job_id: run for run in cycle.ready}
        after = room.cycle(active=tuple(renewed.get(run.job_id, run) for run in waiting), room=2)
        assert [run.job_id for run in after.ready] == [run.job_id for run in (urgent, *runs[:3])]


def test_what_a_cycle_recorded_is_reserved_whatever_waits_besides() -> None:
    with ExitStack() as stack:
        room = Room(stack)
        runs = room.cycle(recorded=room.recorded(3)).ready
        room.desk.clock.sleep(MAX_RESERVATION_AGE)
        cycle = room.cycle(active=runs, recorded=room.recorded(2), room=1)
        assert (len(cycle.ready), cycle.reserved) == (3, 3)


@pytest.mark.parametrize("failing", ["unanswered", "half_answered"])
def test_a_job_that_buildkite_says_nothing_of_waits_for_the_next_cycle(failing: str) -> None:
    with ExitStack() as stack:
        room = Room(stack)
        silent, named = room.recorded(2)
        answers: dict[str, Any] = {failing: frozenset({QUEUE})}
        stacks: Any = ScriptedStacks(**answers, unnamed=frozenset({silent.job_id}))
        room.reserve = replace(room.reserve, stacks=stacks)
        done = room.cycle(recorded=(silent, named))
        assert silent.job_id not in {run.job_id for run in done.ready}
        assert {run.job_id for run in room.tables.ledger.active_runs()} == {silent.job_id, named.job_id}
