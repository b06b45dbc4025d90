"""Metrics: counts the waiting jobs, unavailable pools and EC2's budget that a dispatcher cycle saw.

This is the last step of the chain. A cycle that reaches it is the dispatcher's heartbeat.
"""

from dataclasses import dataclass
from datetime import datetime

from agent_stack.dispatcher.capacity_cache import CapacityCache
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.domain.backoff import ALARM_AFTER
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.measures import Function, Metric, quota_of
from agent_stack.domain.policy import Policy
from agent_stack.domain.states import RunState
from agent_stack.ports import Clock, Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherMetrics:
    """Writes metrics; reads from no other system and changes nothing."""

    capacity: CapacityCache
    policy: Policy
    clock: Clock
    telemetry: Telemetry

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Returns the cycle unchanged."""
        measure = self.telemetry
        measure.count(Metric.CYCLES_COMPLETED, of=Function.DISPATCHER)
        measure.peak(
            Metric.CYCLE_SECONDS, (self.clock.monotonic() - cycle.began).total_seconds(), of=Function.DISPATCHER
        )
        self._measure_waiting(cycle)
        measure.peak(Metric.JOBS_UNMATCHED, cycle.unmatched_jobs)
        memory = self.capacity.latest
        measure.peak(Metric.POOLS_UNAVAILABLE, len(memory.unavailable(cycle.now)))
        measure.peak(Metric.BREAKERS_OPEN, _stopped(memory, cycle.now))
        for bucket, ceiling in memory.quotas.items():
            if ceiling.vcpus is not None:
                measure.peak(Metric.QUOTA_VCPUS, ceiling.vcpus, of=quota_of(bucket))
        budget = self.policy.instance_budget
        used = 100 * (1 - memory.granted(budget, cycle.now) / budget.burst)
        measure.peak(Metric.EC2_BUDGET_USED_PERCENT, used)
        return cycle

    def _measure_waiting(self, cycle: DispatcherCycle) -> None:
        """Jobs that wait for room or for a VM. Excludes jobs of paused queues and jobs that match no class."""
        without_vm = [
            run.waits_since
            for run in cycle.active
            if run.state is RunState.RESERVED and run.failure_reason is None and run.queue_key not in cycle.paused
        ]
        self.telemetry.peak(Metric.JOBS_WAITING, len(cycle.fitting) + len(without_vm))
        since = min([*(job.waits_since for job in cycle.fitting), *without_vm], default=cycle.now)
        self.telemetry.peak(Metric.OLDEST_WAITING_SECONDS, (cycle.now - since).total_seconds())


def _stopped(memory: LaunchMemory, now: datetime) -> int:
    """Classes, or the account, that are not launched for a while, or whose requests have failed for long."""
    failing = [one for one in memory.backoffs.values() if one.failures and now - one.since >= ALARM_AFTER]
    return sum(breaker.until > now for breaker in memory.breakers.values()) + len(failing)
