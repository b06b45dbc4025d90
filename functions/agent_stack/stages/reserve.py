"""Reserve: take the recorded jobs off Buildkite's list, for as long as a boot may take.

Runs left over from earlier ticks (handed back, or without a VM yet) are reserved again in full right before
their launch, so that the whole boot lies inside the reservation.
"""

from collections import defaultdict
from dataclasses import dataclass, replace

from agent_stack.domain.identifiers import QueueKey
from agent_stack.domain.measures import Metric
from agent_stack.domain.policy import Policy
from agent_stack.domain.runs import Run
from agent_stack.domain.states import Outcome, RunState
from agent_stack.ports import Ledger, StacksApi, Telemetry
from agent_stack.stages.ticks import DispatcherTick


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """Reserves queue by queue. What Buildkite refuses is released; what it did not answer stays for later."""

    stacks: StacksApi
    ledger: Ledger
    policy: Policy
    telemetry: Telemetry

    def __call__(self, tick: DispatcherTick) -> DispatcherTick:
        """Fills `ready`."""
        by_queue: dict[QueueKey, list[Run]] = defaultdict(list)
        left_over = [run for run in tick.active if run.state is RunState.RESERVED and run.give_up is None]
        for run in (*left_over, *tick.recorded):
            if run.queue_key not in tick.paused:
                by_queue[run.queue_key].append(run)
        self._release_lapsed([run for run in left_over if run.queue_key in tick.paused], tick)
        ready: list[Run] = []
        for queue, runs in by_queue.items():
            ready += self._reserve(queue, runs, tick)
        wants_vm = [run for run in ready if run.give_up is None]
        return replace(tick, ready=tuple(sorted(wants_vm, key=lambda run: -run.priority)))

    def _release_lapsed(self, runs: list[Run], tick: DispatcherTick) -> None:
        """A paused queue's jobs without a VM go back to Buildkite when their reservation ends."""
        lapsed = [run for run in runs if run.reserved_until is None or run.reserved_until <= tick.now]
        for run in self.ledger.end([run.ended(Outcome.RELEASED, now=tick.now) for run in lapsed]):
            self.telemetry.info("job_released", job_id=run.job_id, reason="queue_paused")
            self.telemetry.count(Metric.RUNS_ENDED, of=Outcome.RELEASED)

    def _reserve(self, queue: QueueKey, runs: list[Run], tick: DispatcherTick) -> list[Run]:
        answer = self.stacks.reserve(queue, [run.job_id for run in runs], self.policy.reservation)
        for error in answer.errors:
            self.telemetry.error("jobs_not_reserved", queue=queue, error=str(error))
        until = tick.now + self.policy.reservation
        refused = [run for run in runs if run.job_id in answer.not_reserved]
        for run in self.ledger.end([run.ended(Outcome.RELEASED, now=tick.now) for run in refused]):
            self.telemetry.info("job_released", job_id=run.job_id, reason="not_reserved")
            self.telemetry.count(Metric.RUNS_ENDED, of=Outcome.RELEASED)
        granted = [run.reserved(now=tick.now, until=until) for run in runs if run.job_id in answer.reserved]
        return list(self.ledger.update(granted))
