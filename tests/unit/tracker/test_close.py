"""Close: what is recorded of a run by what was decided, and of whom the cycle then speaks."""

from collections.abc import Sequence

import pytest

from agent_stack.domain.decisions import Action
from agent_stack.domain.errors import BugError, RetryError
from agent_stack.domain.runs import Run
from agent_stack.domain.states import CredentialHolder, JobState, Moment, Outcome, RunState, VmState
from agent_stack.domain.vms import MailboxStatus
from agent_stack.tracker.close import Close
from agent_stack.tracker.cycle import TrackerCycle, Verdict
from tests.simulator.clock import EPOCH
from tests.simulator.memory import Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import WatchedLedger
from tests.unit.tracker.parts import NOW, a_cycle, a_verdict
from tests.unit.values import a_letter, a_run, a_vm, job_id

TAKEN = MailboxStatus(credential_holder=CredentialHolder.VM)


class Registry:
    """Runs that boot, each on the VM of its number."""

    def __init__(self) -> None:
        self.store, self.telemetry = Store(), RecordedTelemetry()
        self.ledger = WatchedLedger(store=self.store)
        self.close = Close(ledger=self.ledger, telemetry=self.telemetry)

    def booting(self, number: int = 1) -> Run:
        self.ledger.record([a_run(number)])
        bound = a_run(number).bound(a_vm(number), now=EPOCH)
        (run,) = self.ledger.bind([(bound, a_letter(bound, a_vm(number)))])
        return run

    def cycle(self, verdicts: Sequence[Verdict]) -> TrackerCycle:
        return self.close(a_cycle(*verdicts))


def test_a_run_whose_job_an_agent_of_ours_has_is_running_from_now_on() -> None:
    registry = Registry()
    run = registry.booting()
    seen = a_verdict(run, Action.RUN, vm=a_vm(state=VmState.RUNNING), job_state=JobState.RUNNING, mailbox_status=TAKEN)
    after = registry.cycle([seen]).verdicts[run.job_id].run
    assert registry.store.runs == {run.job_id: after}
    assert (after.state, after.state_entered_at) == (RunState.RUNNING, NOW)
    assert after.credential_holder is CredentialHolder.VM
    learnt = {Moment.VM_RUNNING, Moment.AGENT_STARTED, Moment.JOB_RUNNING}
    assert {moment for moment, at in after.timeline.items() if at == NOW} == learnt


def test_when_a_job_was_over_is_recorded_while_its_vm_is_still_up() -> None:
    registry = Registry()
    run = registry.booting()
    registry.cycle([a_verdict(run, Action.RECORD_JOB_OVER)])
    (stored,) = registry.ledger.active_runs()
    assert (stored.job_over_at, stored.state) == (NOW, RunState.BOOTING)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_run_that_is_over_goes_to_history_with_its_outcome(outcome: Outcome) -> None:
    registry = Registry()
    run = registry.booting()
    after = registry.cycle([a_verdict(run, Action.END, outcome=outcome)]).verdicts[run.job_id].run
    assert (registry.store.runs, registry.store.history) == ({}, [after])
    assert (after.state, after.outcome, after.timeline[Moment.ENDED]) == (RunState.ENDED, outcome, NOW)


def test_what_another_tracker_recorded_first_is_not_recorded_again_nor_logged() -> None:
    registry = Registry()
    first, second = registry.booting(1), registry.booting(2)
    registry.ledger.update([first.with_facts(notices_sent=frozenset({"vm_running"}))])
    verdicts = [a_verdict(run, Action.END, outcome=Outcome.LOST) for run in (first, second)]
    cycle = registry.cycle(verdicts)
    assert [run.job_id for run in registry.store.history] == [second.job_id]
    assert cycle.verdicts[first.job_id].run == first
    assert [fields["job_id"] for _, _, fields in registry.telemetry.records] == [second.job_id]


def test_what_was_recorded_is_logged_with_the_vm_and_the_reason() -> None:
    registry = Registry()
    registry.cycle([a_verdict(registry.booting(), Action.END, outcome=Outcome.FINISHED, reason="the job is finished")])
    fields = {
        "job_id": job_id(),
        "instance_id": a_vm().instance_id,
        "run_state": RunState.ENDED,
        "outcome": Outcome.FINISHED,
        "reason": "the job is finished",
    }
    assert registry.telemetry.records == [("INFO", "run_changed", fields)]


@pytest.mark.parametrize(
    "action", [action for action in Action if action not in {Action.RUN, Action.RECORD_JOB_OVER, Action.END}]
)
def test_what_another_step_acts_on_is_left_to_it(action: Action) -> None:
    registry = Registry()
    run = registry.booting()
    assert registry.cycle([a_verdict(run, action)]).verdicts[run.job_id].run == run
    assert registry.store.runs == {run.job_id: run}


def test_an_end_without_an_outcome_is_a_bug() -> None:
    registry = Registry()
    with pytest.raises(BugError):
        registry.cycle([a_verdict(registry.booting(), Action.END)])


def test_runs_that_are_over_are_closed_though_the_others_cannot_be_written() -> None:
    registry = Registry()
    first, second = registry.booting(1), registry.booting(2)
    registry.ledger.fails["update"] = [RetryError("throttled")]
    registry.cycle([a_verdict(first, Action.RUN), a_verdict(second, Action.END, outcome=Outcome.LOST)])
    assert [run.job_id for run in registry.store.history] == [second.job_id]
