"""Requeue: returns a run whose VM failed to the dispatcher, and records the failed attempt.

The run records the pool of the failed VM, so that `launch` takes another pool when the class has one. After two spot
interruptions the next VM is on-demand, if the class allows the fallback.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from agent_stack.best_effort import written
from agent_stack.domain.attempts import SPOT_LOSSES_BEFORE_ON_DEMAND, Failure, spot_losses
from agent_stack.domain.classes import on_demand_name
from agent_stack.domain.decisions import Action
from agent_stack.domain.errors import AgentStackError, BugError
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.runs import Run
from agent_stack.ports import ClassSource, Ledger, Telemetry
from agent_stack.tracker.cycle import TrackerCycle, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeue:
    """Records the run as RESERVED without a VM. Its old VM is already terminating."""

    ledger: Ledger
    classes: ClassSource
    telemetry: Telemetry

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Updates the runs in `verdicts`."""
        back = [
            self._requeued(verdict, cycle.now)
            for verdict in cycle.verdicts.values()
            if verdict.decision.action is Action.REQUEUE
        ]
        recorded = written(self.ledger.update, back, self.telemetry)
        for run in recorded:
            failed = cycle.verdicts[run.job_id].run.binding
            self.telemetry.warning(
                "job_requeued",
                job_id=run.job_id,
                instance_id=failed.instance_id if failed else None,
                class_name=run.class_name,
                attempt=run.attempt,
                reason=cycle.verdicts[run.job_id].decision.reason,
            )
        return replace(cycle, verdicts=cycle.with_runs(recorded))

    def _requeued(self, verdict: Verdict, now: datetime) -> Run:
        failure = verdict.decision.failure
        if failure is None:
            raise BugError(f"a run is requeued because of a failure: {verdict.run.job_id}")
        return verdict.run.requeued(failure, now=now, class_name=self._next_class(verdict.run, failure, now))

    def _next_class(self, run: Run, failure: Failure, now: datetime) -> ClassName | None:
        """The class name for its next VM; None for the same class."""
        if spot_losses(run.attempts_with(failure, now)) < SPOT_LOSSES_BEFORE_ON_DEMAND:
            return None
        try:
            vm_class = self.classes.book().find(run.class_name)
        except AgentStackError as error:
            self.telemetry.error("classes_unreadable", error=str(error))
            return None
        return on_demand_name(run.class_name) if vm_class is not None and vm_class.fallback else None
