"""Decide: what becomes of every run, by the pure function of `domain.decisions`."""

from dataclasses import dataclass, replace

from agent_stack.domain.decisions import Action, decide
from agent_stack.domain.errors import BugError
from agent_stack.domain.identifiers import JobId
from agent_stack.ports import Telemetry
from agent_stack.stages.ticks import TrackerTick, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Decide:
    """Decides run by run; a run that cannot be decided does not stop the others."""

    telemetry: Telemetry

    def __call__(self, tick: TrackerTick) -> TrackerTick:
        """Fills `verdicts`."""
        verdicts: dict[JobId, Verdict] = {}
        for situation in tick.situations:
            try:
                decision = decide(situation)
            except BugError as error:
                self.telemetry.error("run_undecidable", job_id=situation.run.job_id, error=str(error))
                continue
            verdicts[situation.run.job_id] = Verdict(situation=situation, decision=decision)
            if decision.action is not Action.KEEP:
                self.telemetry.info(
                    "run_decided",
                    job_id=situation.run.job_id,
                    instance_id=situation.run.binding.instance_id if situation.run.binding else None,
                    run_state=situation.run.state,
                    job_state=situation.job_state,
                    action=decision.action,
                    reason=decision.reason,
                )
        return replace(tick, verdicts=verdicts)
