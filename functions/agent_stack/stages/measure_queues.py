"""Measure queues: what a dispatcher's tick saw of the waiting, and what EC2 keeps back. The end of its chain.

That a tick came this far is the dispatcher's heartbeat.
"""

from dataclasses import dataclass

from agent_stack.domain.measures import Function, Metric
from agent_stack.domain.policy import Policy
from agent_stack.domain.states import Moment, RunState
from agent_stack.ports import Clock, Telemetry
from agent_stack.stages.launches import Launches
from agent_stack.stages.ticks import DispatcherTick


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureQueues:
    """Counts; reads nothing and changes nothing."""

    launches: Launches
    policy: Policy
    clock: Clock
    telemetry: Telemetry

    def __call__(self, tick: DispatcherTick) -> DispatcherTick:
        """Changes nothing of the tick."""
        measure = self.telemetry
        measure.count(Metric.TICKS_COMPLETED, of=Function.DISPATCHER)
        measure.peak(Metric.TICK_SECONDS, (self.clock.now() - tick.now).total_seconds(), of=Function.DISPATCHER)
        self._measure_waiting(tick)
        memory = self.launches.known
        measure.peak(Metric.POOLS_RESTING, len(memory.resting(tick.now)))
        measure.peak(Metric.BREAKERS_OPEN, sum(breaker.until > tick.now for breaker in memory.breakers.values()))
        budget = self.policy.instance_budget
        used = 100 * (1 - memory.granted(budget, tick.now) / budget.burst)
        measure.peak(Metric.EC2_BUDGET_USED_PERCENT, used)
        return tick

    def _measure_waiting(self, tick: DispatcherTick) -> None:
        """What waited when the tick looked: for a place, or for a VM. Not what nobody may or can start."""
        without_vm = [
            run.timeline.get(Moment.SCHEDULED, run.state_entered_at)
            for run in tick.active
            if run.state is RunState.RESERVED and run.give_up is None and run.queue_key not in tick.paused
        ]
        self.telemetry.peak(Metric.JOBS_WAITING, len(tick.fitting) + len(without_vm))
        since = min([*(job.scheduled_at for job in tick.fitting), *without_vm], default=tick.now)
        self.telemetry.peak(Metric.OLDEST_WAITING_SECONDS, (tick.now - since).total_seconds())
