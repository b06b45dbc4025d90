"""When the dispatcher reads all runs, and when it leaves out those that have a VM."""

from datetime import timedelta

import pytest

from agent_stack.dispatcher.active_runs import LONGEST_REST, REST, ActiveRuns
from agent_stack.domain.errors import RetryError
from agent_stack.domain.states import Outcome
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.memory import Store
from tests.unit.dispatcher.parts import WatchedLedger
from tests.unit.values import a_run, a_vm

ALL, WITHOUT_A_VM = "active_runs", "refreshed_runs"


class Reading:
    """A process, and a ledger that takes so long to give all runs."""

    def __init__(self, seconds: float) -> None:
        self.clock, self.store = VirtualClock(), Store()
        self.ledger = WatchedLedger(store=self.store)
        self.takes = timedelta(seconds=seconds)
        self.active = ActiveRuns(ledger=self, clock=self.clock)  # type: ignore[arg-type]  # the two methods it needs

    def active_runs(self) -> object:
        self.clock.sleep(self.takes)
        return self.ledger.active_runs()

    def refreshed_runs(self) -> object:
        return self.ledger.refreshed_runs()

    def cycles(self, count: int, *, every: float = 1.0, fence: int = 1) -> list[str]:
        """What each of so many cycles read."""
        self.ledger.journal.clear()
        for _ in range(count):
            self.active(fence)
            self.clock.sleep(timedelta(seconds=every))
        return list(self.ledger.journal)


def test_runs_that_are_read_quickly_are_all_read_in_each_cycle() -> None:
    assert Reading(0.1).cycles(5) == [ALL] * 5


def test_reading_all_runs_takes_a_tenth_of_the_time() -> None:
    assert Reading(0.5).cycles(11) == [ALL, *[WITHOUT_A_VM] * 4, ALL, *[WITHOUT_A_VM] * 4, ALL]
    assert REST == 9


def test_all_runs_are_read_after_a_minute_however_long_it_takes() -> None:
    assert Reading(30).cycles(61).count(ALL) == 2
    assert timedelta(minutes=1) == LONGEST_REST


def test_all_runs_are_read_first_under_a_lease() -> None:
    reading = Reading(2)
    assert reading.cycles(2) == [ALL, WITHOUT_A_VM]
    assert reading.cycles(2, fence=3) == [ALL, WITHOUT_A_VM]


def test_after_a_reading_that_failed_all_are_read() -> None:
    reading = Reading(0.5)
    reading.cycles(5)
    reading.ledger.fails[ALL] = [RetryError("throttled")]
    with pytest.raises(RetryError):
        reading.active(1)
    assert reading.cycles(1) == [ALL]


def test_a_run_that_ended_counts_until_all_runs_are_read() -> None:
    reading = Reading(0.5)
    bound = a_run().bound(a_vm(), now=EPOCH)
    reading.store.runs[bound.job_id] = bound
    assert reading.active(1) == [bound]
    reading.ledger.end([bound.ended(Outcome.FINISHED, now=EPOCH)])
    assert reading.active(1) == [bound]
    reading.clock.sleep(timedelta(seconds=4.5))
    assert reading.active(1) == []
