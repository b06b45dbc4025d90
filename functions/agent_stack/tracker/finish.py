"""Finish: fails a job at Buildkite, with a reason. At most once for each job.

The run records the intention before the request. When the answer is lost, a later cycle reads the job's state and
learns whether the job was finished. It never repeats the request without this check, and not while this request may
still be under way. So the intention has the time at which it was recorded, not that at which its cycle began, and a
request that cannot be sent soon after it is left to that later cycle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice

from agent_stack.best_effort import written
from agent_stack.domain.decisions import Action
from agent_stack.domain.errors import AgentStackError, GiveUpError, UnknownOutcomeError
from agent_stack.domain.failure_report import failure_report
from agent_stack.domain.holds import SHORTEST_HOLD
from agent_stack.domain.identifiers import JobId
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import JobPhase
from agent_stack.domain.states import Outcome
from agent_stack.ports import Clock, Fleet, Ledger, StacksApi, Telemetry
from agent_stack.tracker.cycle import TrackerCycle, Verdict

EXIT_STATUS = -1
"""Buildkite itself uses this value for a job whose agent was lost, and retry rules of pipelines can match it."""

CONSOLES_PER_CYCLE = 10
"""About one second of a cycle, at 100 ms each, and half of EC2's read budget in that time."""

SENT_WITHIN = timedelta(seconds=10)
"""After the intention. With the time that a request may take this is less than `FINISH_SETTLES_AFTER`, after which
another process may ask again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Finishes jobs one by one; one failure does not stop the others."""

    stacks: StacksApi
    fleet: Fleet
    ledger: Ledger
    clock: Clock
    telemetry: Telemetry

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Updates the runs in `verdicts`; ends those whose outcome is known."""
        wanted = [verdict for verdict in cycle.verdicts.values() if verdict.decision.action is Action.FINISH]
        consoles = self._consoles(wanted)
        # After a crash here the run says that it is being finished; the next cycle reads the job's state.
        now, asked = self.clock.now(), self.clock.monotonic()
        finishing = [v.run.finishing(v.decision.reason, now=now) for v in wanted]
        intended = written(self.ledger.update, finishing, self.telemetry)
        ended: list[Run] = []
        for run in intended:
            if self.clock.monotonic() - asked > SENT_WITHIN:
                self.telemetry.info("job_finish_later", job_id=run.job_id)
                continue
            verdict = cycle.verdicts[run.job_id]
            decision = verdict.decision
            detail = failure_report(
                verdict.situation, decision.reason, decision.failure, consoles.get(run.job_id), _held(cycle, run)
            )
            outcome = self._finish(run, detail, verdict.situation.job_phase)
            if outcome is not None:
                ended.append(run.ended(outcome, now=cycle.now))
        recorded = written(self.ledger.end, ended, self.telemetry)
        return replace(cycle, verdicts=cycle.with_runs([*intended, *recorded]))

    def _consoles(self, finishing: Sequence[Verdict]) -> Mapping[JobId, str]:
        """Console output of the VMs that reported no error themselves. Read first, because it may take seconds."""
        without_report = {
            v.run.job_id: v.run.binding.instance_id
            for v in finishing
            if v.run.binding is not None
            and (v.situation.mailbox_status is None or not v.situation.mailbox_status.last_words)
        }
        consoles: dict[JobId, str] = {}
        for job_id, instance_id in islice(without_report.items(), CONSOLES_PER_CYCLE):
            try:
                consoles[job_id] = self.fleet.console_output(instance_id)
            except AgentStackError as error:
                self.telemetry.info("console_not_read", job_id=job_id, instance_id=instance_id, error=str(error))
        return consoles

    def _finish(self, run: Run, detail: str, job_phase: JobPhase) -> Outcome | None:
        """How the run ended; None when only the job's state can show that."""
        try:
            self.stacks.finish(run.queue_key, run.job_id, exit_status=EXIT_STATUS, detail=detail)
        except GiveUpError as error:
            # A refusal does not prove that the job is over or another stack's. While it is reserved, its state decides
            # in a later cycle. One that lapsed is listed again, and what it has used up stays counted.
            self.telemetry.info("job_not_finished", job_id=run.job_id, error=str(error))
            return None if job_phase is JobPhase.RESERVED else Outcome.RELEASED
        except UnknownOutcomeError as error:
            self.telemetry.info("job_finish_unknown", job_id=run.job_id, error=str(error))
            return None
        except AgentStackError as error:
            self.telemetry.info("job_finish_failed", job_id=run.job_id, error=str(error))
            return None
        self.telemetry.info("job_finished", job_id=run.job_id, reason=run.failure_reason)
        return Outcome.FAILED


def _held(cycle: TrackerCycle, run: Run) -> str:
    """What the build page says of a VM that stays up. Nobody reads the job's notices any more once it is over."""
    hold = (cycle.held or {}).get(run.binding.instance_id) if run.binding is not None else None
    if hold is None or hold.until - cycle.now < SHORTEST_HOLD:
        return ""
    return f"The VM stays up until {hold.until:%H:%M} UTC. Look into its failed boot: {hold.connect}"
