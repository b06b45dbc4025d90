"""Extend: jobs of booting VMs stay reserved, queue by queue; a refusal is recorded and never guessed."""

from dataclasses import replace
from datetime import timedelta

import pytest

from agent_stack.domain.decisions import Action
from agent_stack.domain.identifiers import JobId, QueueKey
from agent_stack.domain.runs import Run
from agent_stack.tracker.cycle import TrackerCycle
from agent_stack.tracker.extend import Extend
from tests.simulator.memory import MemoryLedger, Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.tracker.parts import NOW, ScriptedStacks, a_cycle, a_verdict
from tests.unit.values import a_policy, a_run, job_id

QUEUE, OTHER = QueueKey("default"), QueueKey("other")
RESERVATION = timedelta(seconds=900)


class Desk:
    """Runs whose reservation runs out."""

    def __init__(self, refused: frozenset[JobId] = frozenset(), unanswered: frozenset[QueueKey] = frozenset()) -> None:
        self.store, self.telemetry = Store(), RecordedTelemetry()
        self.ledger = MemoryLedger(store=self.store)
        self.stacks = ScriptedStacks(refused=refused, unanswered=unanswered)
        self.extend = Extend(
            stacks=self.stacks,  # type: ignore[arg-type]  # the one request that it makes
            ledger=self.ledger,
            policy=a_policy(reservation=RESERVATION),
            telemetry=self.telemetry,
        )

    def run(self, number: int, queue: QueueKey = QUEUE) -> Run:
        run = replace(a_run(number), queue_key=queue, reserved_until=NOW + timedelta(seconds=60))
        (won,) = self.ledger.record([run])
        return won

    def cycle(self, *runs: Run, action: Action = Action.EXTEND) -> TrackerCycle:
        return self.extend(a_cycle(*(a_verdict(run, action) for run in runs)))


def test_a_reservation_that_was_extended_counts_from_now() -> None:
    desk = Desk()
    run = desk.run(1)
    cycle = desk.cycle(run)
    (stored,) = desk.ledger.active_runs()
    assert stored.reserved_until == NOW + RESERVATION
    assert (cycle.extended, cycle.verdicts[run.job_id].run) == ((stored,), stored)


def test_all_jobs_of_a_queue_are_asked_for_in_one_request() -> None:
    desk = Desk()
    first, second, third = desk.run(1), desk.run(2, OTHER), desk.run(3)
    desk.cycle(first, second, third)
    assert desk.stacks.reserved == [
        (QUEUE, [first.job_id, third.job_id], RESERVATION),
        (OTHER, [second.job_id], RESERVATION),
    ]


def test_a_refusal_is_recorded_and_told_and_is_no_extension() -> None:
    desk = Desk(refused=frozenset({job_id(1)}))
    first, second = desk.run(1), desk.run(2)
    cycle = desk.cycle(first, second)
    lost = desk.store.runs[first.job_id]
    assert (lost.reservation_lost, lost.reserved_until) == (True, first.reserved_until)
    assert [run.job_id for run in cycle.extended] == [second.job_id]
    assert desk.telemetry.messages() == ["reservation_lost", "reservations_extended"]


def test_a_queue_that_does_not_answer_changes_nothing_of_its_runs_and_holds_up_no_other() -> None:
    desk = Desk(unanswered=frozenset({QUEUE}))
    first, second = desk.run(1), desk.run(2, OTHER)
    cycle = desk.cycle(first, second)
    assert desk.store.runs[first.job_id] == first
    assert [run.job_id for run in cycle.extended] == [second.job_id]
    assert desk.telemetry.messages() == ["reservations_not_extended", "reservations_extended"]


def test_a_reservation_that_was_lost_and_is_granted_again_is_ours_again() -> None:
    desk = Desk()
    (lost,) = desk.ledger.update([desk.run(1).with_facts(reservation_lost=True)])
    desk.cycle(lost)
    assert not desk.store.runs[lost.job_id].reservation_lost


def test_a_run_that_another_changed_meanwhile_is_not_counted_as_extended() -> None:
    desk = Desk()
    run = desk.run(1)
    desk.ledger.update([run.with_facts(job_over_at=NOW)])
    cycle = desk.cycle(run)
    assert (cycle.extended, cycle.verdicts[run.job_id].run) == ((), run)
    assert desk.telemetry.records == []


@pytest.mark.parametrize("action", [action for action in Action if action is not Action.EXTEND])
def test_no_other_run_is_reserved_again(action: Action) -> None:
    desk = Desk()
    desk.cycle(desk.run(1), action=action)
    assert desk.stacks.reserved == []
