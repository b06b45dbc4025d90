"""Close: records which jobs run and which are over, and ends the runs that are complete."""

from dataclasses import dataclass, replace

from agent_stack.best_effort import written
from agent_stack.domain.decisions import Action
from agent_stack.domain.errors import BugError
from agent_stack.domain.runs import Run
from agent_stack.domain.states import Outcome
from agent_stack.ports import Ledger, Telemetry
from agent_stack.tracker.cycle import TrackerCycle, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Writes RUNNING runs, records when a job was over, and moves ended runs into the history."""

    ledger: Ledger
    telemetry: Telemetry

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Updates the runs in `verdicts`."""
        changed: list[Run] = []
        ended: list[Run] = []
        for verdict in cycle.verdicts.values():
            run = verdict.run
            match verdict.decision.action:
                case Action.RUN:
                    changed.append(run.running(now=cycle.now, observed_moments=verdict.situation.observed_moments))
                case Action.RECORD_JOB_OVER:
                    changed.append(run.with_facts(job_over_at=cycle.now))
                case Action.END:
                    ended.append(run.ended(_outcome(verdict), now=cycle.now))
                case Action.KEEP | Action.EXTEND | Action.REISSUE | Action.REVOKE | Action.TERMINATE:
                    pass  # nothing of the run changes, or its own step has recorded it
                case Action.REQUEUE | Action.FINISH:
                    pass  # their own steps record them
        recorded = [
            *written(self.ledger.update, changed, self.telemetry),
            *written(self.ledger.end, ended, self.telemetry),
        ]
        for run in recorded:
            self.telemetry.info(
                "run_changed",
                job_id=run.job_id,
                instance_id=run.binding.instance_id if run.binding else None,
                run_state=run.state,
                outcome=run.outcome,
                reason=cycle.verdicts[run.job_id].decision.reason,
            )
        return replace(cycle, verdicts=cycle.with_runs(recorded))


def _outcome(verdict: Verdict) -> Outcome:
    if verdict.decision.outcome is None:
        raise BugError(f"a run ends with an outcome: {verdict.run.job_id}")
    return verdict.decision.outcome
