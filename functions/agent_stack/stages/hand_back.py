"""Hand back: a run whose VM failed goes to the dispatcher again, its attempt counted."""

from dataclasses import dataclass, replace

from agent_stack.domain.decisions import Action
from agent_stack.ports import Ledger, Telemetry
from agent_stack.stages.ticks import TrackerTick


@dataclass(frozen=True, slots=True, kw_only=True)
class HandBack:
    """Records the run as RESERVED without a VM. Its old VM is on its way out by now."""

    ledger: Ledger
    telemetry: Telemetry

    def __call__(self, tick: TrackerTick) -> TrackerTick:
        """Updates the runs in `verdicts`."""
        back = [
            verdict.run.handed_back(now=tick.now)
            for verdict in tick.verdicts.values()
            if verdict.decision.action is Action.HAND_BACK
        ]
        recorded = self.ledger.update(back)
        for run in recorded:
            self.telemetry.warning("job_handed_back", job_id=run.job_id, attempt=run.attempt)
        return replace(tick, verdicts=tick.with_runs(recorded))
