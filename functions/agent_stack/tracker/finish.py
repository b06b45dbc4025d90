"""Finish: tell Buildkite that a job will not be run, and why. At most once a job.

The intention is recorded before the request. When the answer is lost, the job's own state tells the next cycle
what came of it; the request is never blindly repeated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from agent_stack.domain.decisions import Action
from agent_stack.domain.errors import AgentStackError, GiveUpError, UnknownOutcomeError
from agent_stack.domain.failure_report import failure_report
from agent_stack.domain.identifiers import JobId
from agent_stack.domain.runs import Run
from agent_stack.domain.states import Outcome
from agent_stack.ports import Fleet, Ledger, StacksApi, Telemetry
from agent_stack.tracker.cycle import TrackerCycle, Verdict

EXIT_STATUS = -1
"""What Buildkite itself shows for a job whose agent was lost; a pipeline's retry rules can match it."""

CONSOLES_PER_CYCLE = 10
"""At some 100 ms each, a second of a cycle; and half of what EC2 grants for reading in that time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Finishes jobs one by one; one failure does not stop the others."""

    stacks: StacksApi
    fleet: Fleet
    ledger: Ledger
    telemetry: Telemetry

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Updates the runs in `verdicts`; ends those whose outcome is known."""
        wanted = [verdict for verdict in cycle.verdicts.values() if verdict.decision.action is Action.FINISH]
        consoles = self._consoles(wanted)
        # Dying after this leaves a run that says it is being finished; the job's own state tells the next cycle.
        intended = self.ledger.update([v.run.finishing(v.decision.reason, now=cycle.now) for v in wanted])
        ended: list[Run] = []
        for run in intended:
            verdict = cycle.verdicts[run.job_id]
            decision = verdict.decision
            detail = failure_report(verdict.situation, decision.reason, decision.failure, consoles.get(run.job_id))
            outcome = self._finish(run, detail)
            if outcome is not None:
                ended.append(run.ended(outcome, now=cycle.now))
        recorded = self.ledger.end(ended)
        return replace(cycle, verdicts=cycle.with_runs(recorded))

    def _consoles(self, finishing: Sequence[Verdict]) -> Mapping[JobId, str]:
        """What the VMs wrote that did not say themselves why they failed. Read first, for it may take a while."""
        silent = {
            v.run.job_id: v.run.binding.instance_id
            for v in finishing
            if v.run.binding is not None
            and (v.situation.mailbox_status is None or not v.situation.mailbox_status.detail)
        }
        consoles: dict[JobId, str] = {}
        for job_id, instance_id in islice(silent.items(), CONSOLES_PER_CYCLE):
            try:
                consoles[job_id] = self.fleet.console_output(instance_id)
            except AgentStackError as error:
                self.telemetry.warning("console_unread", job_id=job_id, instance_id=instance_id, error=str(error))
        return consoles

    def _finish(self, run: Run, detail: str) -> Outcome | None:
        """How the run ended; None when that must be learnt from the job's state."""
        try:
            self.stacks.finish(run.queue_key, run.job_id, exit_status=EXIT_STATUS, detail=detail)
        except GiveUpError as error:
            # Buildkite knows better: the job is over, or somebody else's. There is nothing left to do for it.
            self.telemetry.warning("job_not_finished", job_id=run.job_id, error=str(error))
            return Outcome.RELEASED
        except UnknownOutcomeError as error:
            self.telemetry.warning("job_finish_unknown", job_id=run.job_id, error=str(error))
            return None
        except AgentStackError as error:
            self.telemetry.warning("job_finish_failed", job_id=run.job_id, error=str(error))
            return None
        self.telemetry.info("job_finished", job_id=run.job_id, reason=run.failure_reason)
        return Outcome.FAILED
