"""Finish: tell Buildkite that a job will not be run, and why. At most once a job.

The intention is recorded before the request. When the answer is lost, the job's own state tells the next tick
what came of it; the request is never blindly repeated.
"""

from dataclasses import dataclass, replace

from agent_stack.domain.decisions import Action
from agent_stack.domain.errors import AgentStackError, GiveUpError, UnknownOutcomeError
from agent_stack.domain.runs import Run
from agent_stack.domain.states import Outcome
from agent_stack.ports import Ledger, StacksApi, Telemetry
from agent_stack.stages.ticks import TrackerTick

EXIT_STATUS = -1
"""What Buildkite itself shows for a job whose agent was lost; a pipeline's retry rules can match it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Finishes jobs one by one; one failure does not stop the others."""

    stacks: StacksApi
    ledger: Ledger
    telemetry: Telemetry

    def __call__(self, tick: TrackerTick) -> TrackerTick:
        """Updates the runs in `verdicts`; ends those whose outcome is known."""
        intended = self.ledger.update(
            [
                verdict.run.finishing(verdict.decision.reason, now=tick.now)
                for verdict in tick.verdicts.values()
                if verdict.decision.action is Action.FINISH
            ]
        )
        ended: list[Run] = []
        for run in intended:
            outcome = self._finish(run, tick.verdicts[run.job_id].decision.reason)
            if outcome is not None:
                ended.append(run.ended(outcome, now=tick.now))
        recorded = self.ledger.end(ended)
        return replace(tick, verdicts=tick.with_runs(recorded))

    def _finish(self, run: Run, reason: str) -> Outcome | None:
        """How the run ended; None when that must be learnt from the job's state.

        Args:
            reason: in full; the run keeps a cropped one.
        """
        try:
            self.stacks.finish(
                run.queue_key,
                run.job_id,
                exit_status=EXIT_STATUS,
                detail=reason or "No VM could run this job.",
            )
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
        self.telemetry.info("job_finished", job_id=run.job_id, reason=run.give_up)
        return Outcome.FAILED
