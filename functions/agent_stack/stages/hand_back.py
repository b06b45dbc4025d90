"""Hand back: a run whose VM failed goes to the dispatcher again, its attempt counted and remembered.

The run carries where it failed, so that its next VM comes from another pool where there is one (`launch`). After two
losses to spot it is asked for on-demand, where its class may fall back.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from agent_stack.domain.attempts import SPOT_LOSSES_BEFORE_ON_DEMAND, Failure, spot_losses
from agent_stack.domain.classes import on_demand_name
from agent_stack.domain.decisions import Action
from agent_stack.domain.errors import AgentStackError, BugError
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.runs import Run
from agent_stack.ports import ClassSource, Ledger, Telemetry
from agent_stack.stages.ticks import TrackerTick, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class HandBack:
    """Records the run as RESERVED without a VM. Its old VM is on its way out by now."""

    ledger: Ledger
    classes: ClassSource
    telemetry: Telemetry

    def __call__(self, tick: TrackerTick) -> TrackerTick:
        """Updates the runs in `verdicts`."""
        back = [
            self._handed_back(verdict, tick.now)
            for verdict in tick.verdicts.values()
            if verdict.decision.action is Action.HAND_BACK
        ]
        recorded = self.ledger.update(back)
        for run in recorded:
            failed = tick.verdicts[run.job_id].run.binding
            self.telemetry.warning(
                "job_handed_back",
                job_id=run.job_id,
                instance_id=failed.instance_id if failed else None,
                class_name=run.class_name,
                attempt=run.attempt,
                reason=tick.verdicts[run.job_id].decision.reason,
            )
        return replace(tick, verdicts=tick.with_runs(recorded))

    def _handed_back(self, verdict: Verdict, now: datetime) -> Run:
        failure = verdict.decision.failure
        if failure is None:
            raise BugError(f"a run is handed back for a reason: {verdict.run.job_id}")
        return verdict.run.handed_back(failure, now=now, class_name=self._next_class(verdict.run, failure, now))

    def _next_class(self, run: Run, failure: Failure, now: datetime) -> ClassName | None:
        """Under which name its next VM is asked for; None for the same."""
        if spot_losses(run.attempts_with(failure, now)) < SPOT_LOSSES_BEFORE_ON_DEMAND:
            return None
        try:
            vm_class = self.classes.book().find(run.class_name)
        except AgentStackError as error:
            self.telemetry.error("classes_unreadable", error=str(error))
            return None
        return on_demand_name(run.class_name) if vm_class is not None and vm_class.fallback else None
