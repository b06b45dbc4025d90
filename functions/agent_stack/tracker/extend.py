"""Extend: extends the reservations of jobs whose VMs boot, or learns that Buildkite has withdrawn them."""

from dataclasses import dataclass, replace

from agent_stack.best_effort import written
from agent_stack.domain.decisions import Action
from agent_stack.domain.jobs import by_queue
from agent_stack.domain.policy import Policy
from agent_stack.domain.runs import Run
from agent_stack.ports import Ledger, StacksApi, Telemetry
from agent_stack.tracker.cycle import TrackerCycle


@dataclass(frozen=True, slots=True, kw_only=True)
class Extend:
    """Reserves again, one request for each queue. A refusal is recorded, and the next cycle decides."""

    stacks: StacksApi
    ledger: Ledger
    policy: Policy
    telemetry: Telemetry

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Updates the runs in `verdicts`; fills `extended`."""
        to_extend = [v.run for v in cycle.verdicts.values() if v.decision.action is Action.EXTEND]
        until = cycle.now + self.policy.reservation
        changed: list[Run] = []
        for queue, runs in by_queue((run.queue_key, run) for run in to_extend).items():
            answer = self.stacks.reserve(queue, [run.job_id for run in runs], self.policy.reservation)
            for error in answer.errors:
                self.telemetry.info("reservations_not_extended", queue=queue, error=str(error))
            for run in runs:
                if run.job_id in answer.reserved:
                    changed.append(run.reserved(now=cycle.now, until=until))
                elif run.job_id in answer.not_reserved:
                    self.telemetry.info("reservation_lost", job_id=run.job_id)
                    changed.append(run.with_facts(reservation_lost=True))
        recorded = written(self.ledger.update, changed, self.telemetry)
        if recorded:
            self.telemetry.info("reservations_extended", count=len(recorded))
        extended = tuple(run for run in recorded if not run.reservation_lost)
        return replace(cycle, verdicts=cycle.with_runs(recorded), extended=extended)
