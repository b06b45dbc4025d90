"""Record: a run for each job, before anything is asked of anyone; of two writers one wins."""

from datetime import timedelta

import pytest

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.empty_ledger import EmptyLedgerCache
from agent_stack.dispatcher.record import Record
from agent_stack.domain.attempts import PriorUsage
from agent_stack.domain.errors import RetryError
from agent_stack.domain.jobs import Job
from agent_stack.domain.states import Moment, RunState
from agent_stack.domain.waiting import NO_CLASS
from tests.simulator.clock import EPOCH
from tests.simulator.memory import Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import LARGE, SMALL, WatchedLedger
from tests.unit.values import a_job, a_policy, a_run, job_id

NOW = EPOCH + timedelta(seconds=5)


class Office:
    """A ledger that was seen empty a moment ago."""

    def __init__(self, **policy: object) -> None:
        self.store, self.telemetry = Store(), RecordedTelemetry()
        self.ledger = WatchedLedger(store=self.store)
        self.empty_ledger = EmptyLedgerCache()
        self.empty_ledger.mark_empty(1, NOW)
        self.record = Record(
            ledger=self.ledger, empty_ledger=self.empty_ledger, policy=a_policy(**policy), telemetry=self.telemetry
        )

    def cycle(self, *admitted: Job, refused: tuple[tuple[Job, str], ...] = ()) -> DispatcherCycle:
        listed = tuple((job, SMALL) for job in admitted)
        return self.record(DispatcherCycle(now=NOW, fence=1, admitted=listed, refused=refused))


def test_a_job_that_starts_gets_a_run_of_its_class() -> None:
    office = Office()
    (run,) = office.cycle(a_job(priority=3)).recorded
    assert (run.state, run.class_name, run.priority, run.failure_reason) == (RunState.RESERVED, SMALL, 3, None)
    assert run.timeline == {Moment.SCHEDULED: a_job().scheduled_at, Moment.RECORDED: NOW}
    assert office.store.runs == {run.job_id: run}


def test_a_refused_job_gets_a_run_that_says_why_it_will_not_be_run() -> None:
    (run,) = Office().cycle(refused=((a_job(), "There is no class “x” here."),)).recorded
    assert (run.class_name, run.failure_reason) == (NO_CLASS, "There is no class “x” here.")


def test_the_attempts_and_notices_of_earlier_runs_of_a_job_count() -> None:
    office = Office()
    office.store.earlier[job_id(1)] = PriorUsage(attempts=2, notices_sent=7)
    first, second = office.cycle(a_job(1), a_job(2)).recorded
    assert (first.attempt, first.notices_sent_before) == (2, 7)
    assert (second.attempt, second.notices_sent_before) == (0, 0)


def test_a_job_whose_earlier_runs_had_all_its_vms_gets_a_run_that_is_failed_and_no_vm() -> None:
    office = Office()
    most = a_policy().max_launch_attempts
    office.store.earlier = {job_id(1): PriorUsage(attempts=most), job_id(2): PriorUsage(attempts=most - 1)}
    spent, last = office.cycle(a_job(1), a_job(2)).recorded
    assert str(most) in (spent.failure_reason or "")
    assert last.failure_reason is None


def test_a_standby_vm_that_an_earlier_run_lost_was_not_the_job_s_only_attempt() -> None:
    office = Office(max_launch_attempts=1)
    office.store.earlier = {job_id(1): PriorUsage(attempts=1, lost_standby=True), job_id(2): PriorUsage(attempts=1)}
    first, second = office.cycle(a_job(1), a_job(2)).recorded
    assert (first.failure_reason, first.may_stand_by) == (None, False)
    assert second.failure_reason is not None


def test_a_job_that_another_dispatcher_recorded_first_is_not_ours() -> None:
    office = Office()
    theirs = a_run(1, class_name=LARGE)
    office.store.runs[theirs.job_id] = theirs
    cycle = office.cycle(a_job(1), a_job(2))
    assert [run.job_id for run in cycle.recorded] == [job_id(2)]
    assert office.store.runs[theirs.job_id] == theirs
    assert [fields["job_id"] for _, _, fields in office.telemetry.records] == [job_id(2)]


@pytest.mark.parametrize("fails", [False, True])
def test_the_ledger_is_not_taken_for_empty_once_something_may_have_been_written(fails: bool) -> None:  # noqa: FBT001  (drawn)
    """A write whose answer is lost may have taken effect."""
    office = Office()
    if fails:
        office.ledger.fails["record"] = [RetryError("no answer")]
    office.cycle(a_job())
    assert not office.empty_ledger.is_valid(1, NOW)


def test_an_idle_cycle_reads_nothing_and_forgets_nothing() -> None:
    office = Office()
    assert office.cycle().recorded == ()
    assert office.ledger.journal == []
    assert office.empty_ledger.is_valid(1, NOW)


def test_what_a_refused_job_used_up_before_is_not_looked_up() -> None:
    office = Office()
    office.cycle(refused=((a_job(), "why"),))
    assert office.ledger.journal == ["record"]


def test_when_earlier_runs_cannot_be_read_only_the_jobs_that_need_them_wait() -> None:
    office = Office()
    office.ledger.fails["earlier"] = [RetryError("throttled")]
    cycle = office.cycle(a_job(1), refused=((a_job(2), "why"),))
    assert [run.job_id for run in cycle.recorded] == [job_id(2)]
