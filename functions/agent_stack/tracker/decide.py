"""Decide: chooses an action for every run, with the pure function of `domain.decisions`."""

from dataclasses import dataclass, field, replace

from agent_stack.domain.decisions import Action, decide
from agent_stack.domain.errors import BugError
from agent_stack.domain.identifiers import JobId
from agent_stack.ports import Telemetry
from agent_stack.tracker.cycle import TrackerCycle, Verdict


@dataclass(slots=True, kw_only=True)
class Decide:
    """Decides run by run; an error in one decision does not stop the others."""

    telemetry: Telemetry
    _unusual: frozenset[JobId] = field(default=frozenset(), init=False)
    """Runs whose unusual decision is logged already, because every cycle decides about them again."""

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Fills `verdicts`."""
        verdicts: dict[JobId, Verdict] = {}
        for situation in cycle.situations:
            try:
                decision = decide(situation)
            except BugError as error:
                self.telemetry.error("run_undecidable", job_id=situation.run.job_id, error=str(error))
                continue
            verdicts[situation.run.job_id] = Verdict(situation=situation, decision=decision)
            is_new = decision.odd and situation.run.job_id not in self._unusual
            if decision.action is not Action.KEEP or is_new:
                self.telemetry.info(
                    "run_decided",
                    job_id=situation.run.job_id,
                    instance_id=situation.run.binding.instance_id if situation.run.binding else None,
                    run_state=situation.run.state,
                    job_state=situation.job_state,
                    action=decision.action,
                    reason=decision.reason,
                )
        self._unusual = frozenset(job_id for job_id, verdict in verdicts.items() if verdict.decision.odd)
        return replace(cycle, verdicts=verdicts)
