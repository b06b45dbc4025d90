"""Reserve: take the recorded jobs off Buildkite's list, for as long as a boot may take.

Runs left over from earlier cycles (handed back, or without a VM yet) are reserved again in full before their launch, so
that the whole boot lies inside the reservation; unless that was granted so lately that it is as good as full.
"""

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.domain.identifiers import QueueKey
from agent_stack.domain.measures import Metric
from agent_stack.domain.policy import Policy
from agent_stack.domain.runs import Run
from agent_stack.domain.states import Moment, Outcome, RunState
from agent_stack.ports import Ledger, StacksApi, Telemetry

AS_GOOD_AS_FULL = timedelta(minutes=1)
"""How old a reservation may be at a launch; never more than a quarter of its length. Waiting for EC2 takes seconds, in
each of which every waiting job would else be reserved and recorded anew. The template wants six minutes beside the
longest boot; five of them are left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """Reserves queue by queue. What Buildkite refuses is released; what it did not answer stays for later."""

    stacks: StacksApi
    ledger: Ledger
    policy: Policy
    telemetry: Telemetry

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Fills `ready`."""
        by_queue: dict[QueueKey, list[Run]] = defaultdict(list)
        left_over = [run for run in cycle.active if run.state is RunState.RESERVED and run.failure_reason is None]
        ready: list[Run] = []
        for run in (*left_over, *cycle.recorded):
            if run.queue_key in cycle.paused:
                continue
            if self._as_good_as_full(run, cycle.now):
                ready.append(run)
            else:
                by_queue[run.queue_key].append(run)
        self._release_lapsed([run for run in left_over if run.queue_key in cycle.paused], cycle)
        for queue, runs in by_queue.items():
            ready += self._reserve(queue, runs, cycle)
        wants_vm = [run for run in ready if run.failure_reason is None]
        return replace(cycle, ready=tuple(sorted(wants_vm, key=_in_line)))

    def _as_good_as_full(self, run: Run, now: datetime) -> bool:
        if run.reserved_until is None or run.reservation_lost:
            return False
        age = now - (run.reserved_until - self.policy.reservation)
        return timedelta() <= age < min(AS_GOOD_AS_FULL, self.policy.reservation / 4)

    def _release_lapsed(self, runs: list[Run], cycle: DispatcherCycle) -> None:
        """A paused queue's jobs without a VM go back to Buildkite when their reservation ends."""
        lapsed = [run for run in runs if run.reserved_until is None or run.reserved_until <= cycle.now]
        for run in self.ledger.end([run.ended(Outcome.RELEASED, now=cycle.now) for run in lapsed]):
            self.telemetry.info("job_released", job_id=run.job_id, reason="queue_paused")
            self.telemetry.count(Metric.RUNS_ENDED, of=Outcome.RELEASED)

    def _reserve(self, queue: QueueKey, runs: list[Run], cycle: DispatcherCycle) -> list[Run]:
        answer = self.stacks.reserve(queue, [run.job_id for run in runs], self.policy.reservation)
        for error in answer.errors:
            self.telemetry.error("jobs_not_reserved", queue=queue, error=str(error))
        until = cycle.now + self.policy.reservation
        refused = [run for run in runs if run.job_id in answer.not_reserved]
        for run in self.ledger.end([run.ended(Outcome.RELEASED, now=cycle.now) for run in refused]):
            self.telemetry.info("job_released", job_id=run.job_id, reason="not_reserved")
            self.telemetry.count(Metric.RUNS_ENDED, of=Outcome.RELEASED)
        granted = [run.reserved(now=cycle.now, until=until) for run in runs if run.job_id in answer.reserved]
        return list(self.ledger.update(granted))


def _in_line(run: Run) -> tuple[int, datetime]:
    """By priority, then the longest wait first."""
    return -run.priority, run.timeline.get(Moment.SCHEDULED, run.state_entered_at)
