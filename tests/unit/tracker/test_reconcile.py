"""One cycle of the tracker: every step on what the one before left, and what the process then knows to be ours."""

from dataclasses import replace

import pytest

from agent_stack.domain.errors import RetryError
from agent_stack.domain.states import VmState
from agent_stack.tracker.cycle import TrackerCycle, TrackerStep
from agent_stack.tracker.event_filter import EventFilter
from agent_stack.tracker.reconcile import ReconcileRuns
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.memory import Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import WatchedLedger
from tests.unit.values import a_vm

VM = a_vm(state=VmState.RUNNING)


def a_filter(ledger: WatchedLedger | None = None) -> EventFilter:
    return EventFilter(
        ledger=ledger or WatchedLedger(store=Store()), clock=VirtualClock(), telemetry=RecordedTelemetry()
    )


def seen(cycle: TrackerCycle) -> TrackerCycle:
    """EC2 shows one VM."""
    return replace(cycle, described=True, vms={VM.instance_id: VM})


def test_steps_run_in_order_each_on_what_the_one_before_left() -> None:
    left: list[int] = []

    def adding(count: int) -> TrackerStep:
        def step(cycle: TrackerCycle) -> TrackerCycle:
            left.append(10 * cycle.terminations + count)
            return replace(cycle, terminations=left[-1])

        return step

    steps = (adding(1), adding(2), adding(3))
    ReconcileRuns(steps=steps, event_filter=a_filter(), clock=VirtualClock())(EPOCH, 1)
    assert left == [1, 12, 123]


def test_a_cycle_begins_at_its_time_and_with_nothing_known() -> None:
    begun: list[TrackerCycle] = []

    def note(cycle: TrackerCycle) -> TrackerCycle:
        begun.append(cycle)
        return seen(cycle)

    reconcile = ReconcileRuns(steps=(note,), event_filter=a_filter(), clock=VirtualClock())
    reconcile(EPOCH, 1)
    reconcile(EPOCH, 1)
    assert begun == [TrackerCycle(now=EPOCH, fence=1)] * 2


def test_the_process_knows_what_its_last_cycle_saw() -> None:
    ledger = WatchedLedger(store=Store())
    event_filter = a_filter(ledger)
    ReconcileRuns(steps=(seen,), event_filter=event_filter, clock=VirtualClock())(EPOCH, 1)
    assert event_filter.mentions_ours([frozenset({VM.instance_id})])
    assert not event_filter.mentions_ours([frozenset({"i-00000000000000099"})])
    assert ledger.journal == [], "without a look into the ledger"


def test_a_cycle_that_failed_teaches_nothing() -> None:
    event_filter = a_filter()

    def fail(cycle: TrackerCycle) -> TrackerCycle:
        raise RetryError("throttled")

    with pytest.raises(RetryError):
        ReconcileRuns(steps=(seen, fail), event_filter=event_filter, clock=VirtualClock())(EPOCH, 1)
    assert not event_filter.mentions_ours([frozenset({VM.instance_id})])


def test_a_tracker_works_on_while_something_lives() -> None:
    idle = ReconcileRuns(steps=(), event_filter=a_filter(), clock=VirtualClock())
    busy = ReconcileRuns(steps=(seen,), event_filter=a_filter(), clock=VirtualClock())
    assert (idle(EPOCH, 1), busy(EPOCH, 1)) == (False, True)
