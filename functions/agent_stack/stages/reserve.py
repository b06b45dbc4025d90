"""Reserve: take the recorded jobs off Buildkite's list, for as long as a boot may take.

Runs left over from earlier ticks (handed back, or without a VM yet) are reserved again in full before their launch, so
that the whole boot lies inside the reservation; unless that was granted so lately that it is as good as full.
"""

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from agent_stack.domain.identifiers import QueueKey
from agent_stack.domain.measures import Metric
from agent_stack.domain.policy import Policy
from agent_stack.domain.runs import Run
from agent_stack.domain.states import Outcome, RunState
from agent_stack.ports import Ledger, StacksApi, Telemetry
from agent_stack.stages.ticks import DispatcherTick

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

    def __call__(self, tick: DispatcherTick) -> DispatcherTick:
        """Fills `ready`."""
        by_queue: dict[QueueKey, list[Run]] = defaultdict(list)
        left_over = [run for run in tick.active if run.state is RunState.RESERVED and run.give_up is None]
        ready: list[Run] = []
        for run in (*left_over, *tick.recorded):
            if run.queue_key in tick.paused:
                continue
            if self._as_good_as_full(run, tick.now):
                ready.append(run)
            else:
                by_queue[run.queue_key].append(run)
        self._release_lapsed([run for run in left_over if run.queue_key in tick.paused], tick)
        for queue, runs in by_queue.items():
            ready += self._reserve(queue, runs, tick)
        wants_vm = [run for run in ready if run.give_up is None]
        return replace(tick, ready=tuple(sorted(wants_vm, key=lambda run: -run.priority)))

    def _as_good_as_full(self, run: Run, now: datetime) -> bool:
        if run.reserved_until is None or run.reservation_lost:
            return False
        age = now - (run.reserved_until - self.policy.reservation)
        return timedelta() <= age < min(AS_GOOD_AS_FULL, self.policy.reservation / 4)

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
