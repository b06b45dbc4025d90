"""Reserve: reserves the recorded jobs at Buildkite, for as long as a boot may take.

Runs of earlier cycles (requeued, or still without a VM) are reserved again for the full time before their launch, so
that the boot fits into the reservation. A reservation that is younger than `MAX_RESERVATION_AGE` is long enough.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from agent_stack.best_effort import written
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.domain.identifiers import QueueKey
from agent_stack.domain.jobs import by_queue
from agent_stack.domain.measures import Metric
from agent_stack.domain.policy import Policy
from agent_stack.domain.runs import Run
from agent_stack.domain.states import Moment, Outcome, RunState
from agent_stack.ports import Ledger, StacksApi, Telemetry

MAX_RESERVATION_AGE = timedelta(minutes=1)
"""How old a reservation may be at a launch; never more than a quarter of its length. Without this, every waiting job
would be reserved and recorded again each second while EC2 answers. The template demands six minutes more than the
longest boot; five of them remain."""


def _in_line(run: Run) -> tuple[int, datetime]:
    """The order of runs, as `admit` has it; the sort is stable."""
    return (-run.priority, run.timeline.get(Moment.SCHEDULED, run.state_entered_at))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """Reserves queue by queue. A refused job is released; a job without an answer waits for the next cycle."""

    stacks: StacksApi
    ledger: Ledger
    policy: Policy
    telemetry: Telemetry

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Fills `reserved` and `ready`. Renews as many reservations as the cycle has room for, first in line first."""
        earlier = [run for run in cycle.active if run.state is RunState.RESERVED and run.failure_reason is None]
        wanted = [run for run in (*earlier, *cycle.recorded) if run.queue_key not in cycle.paused]
        ready = [run for run in wanted if self._is_fresh(run, cycle.now)]
        renewed = sorted((run for run in earlier if self._is_due(run, cycle)), key=_in_line)[: cycle.room]
        to_reserve = [*renewed, *(run for run in cycle.recorded if self._is_due(run, cycle))]
        self._release_lapsed([run for run in earlier if run.queue_key in cycle.paused], cycle)
        for queue, runs in by_queue((run.queue_key, run) for run in to_reserve).items():
            ready += self._reserve(queue, runs, cycle)
        needs_vm = [run for run in ready if run.failure_reason is None]
        return replace(cycle, reserved=len(to_reserve), ready=tuple(sorted(needs_vm, key=_in_line)))

    def _is_due(self, run: Run, cycle: DispatcherCycle) -> bool:
        return run.queue_key not in cycle.paused and not self._is_fresh(run, cycle.now)

    def _is_fresh(self, run: Run, now: datetime) -> bool:
        if run.reserved_until is None or run.reservation_lost:
            return False
        age = now - (run.reserved_until - self.policy.reservation)
        return timedelta() <= age < min(MAX_RESERVATION_AGE, self.policy.reservation / 4)

    def _release_lapsed(self, runs: list[Run], cycle: DispatcherCycle) -> None:
        """Releases the jobs of a paused queue that have no VM, when their reservation ends."""
        lapsed = [run for run in runs if run.reserved_until is None or run.reserved_until <= cycle.now]
        over = [run.ended(Outcome.RELEASED, now=cycle.now) for run in lapsed]
        for run in written(self.ledger.end, over, self.telemetry):
            self.telemetry.info("job_released", job_id=run.job_id, reason="queue_paused")
            self.telemetry.count(Metric.RUNS_ENDED, of=Outcome.RELEASED)

    def _reserve(self, queue: QueueKey, runs: list[Run], cycle: DispatcherCycle) -> list[Run]:
        answer = self.stacks.reserve(queue, [run.job_id for run in runs], self.policy.reservation)
        for error in answer.errors:
            self.telemetry.error("jobs_not_reserved", queue=queue, error=str(error))
        until = cycle.now + self.policy.reservation
        refused = [run for run in runs if run.job_id in answer.not_reserved]
        over = [run.ended(Outcome.RELEASED, now=cycle.now) for run in refused]
        for run in written(self.ledger.end, over, self.telemetry):
            self.telemetry.info("job_released", job_id=run.job_id, reason="not_reserved")
            self.telemetry.count(Metric.RUNS_ENDED, of=Outcome.RELEASED)
        granted = [run.reserved(now=cycle.now, until=until) for run in runs if run.job_id in answer.reserved]
        return list(written(self.ledger.update, granted, self.telemetry))
