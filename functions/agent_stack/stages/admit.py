"""Admit: which of the listed jobs start now.

What is not admitted stays scheduled, in Buildkite's hands; nothing is promised that cannot be launched.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import zip_longest

from agent_stack.domain.capacity import LOOK_AHEAD, LaunchMemory
from agent_stack.domain.classes import ClassBook, Unmatched, base_name
from agent_stack.domain.errors import BugError
from agent_stack.domain.identifiers import ClassName, JobId, QueueKey
from agent_stack.domain.jobs import Job
from agent_stack.domain.policy import Policy, UnmatchedJobs
from agent_stack.domain.waiting import MAX_LISTED, Waiting, WaitReason, waits
from agent_stack.ports import Telemetry
from agent_stack.stages.launches import Launches
from agent_stack.stages.ticks import DispatcherTick


@dataclass(slots=True, kw_only=True)
class Admit:
    """Matches jobs to classes, orders them by priority and age, and cuts to what may be launched within seconds."""

    launches: Launches
    policy: Policy
    telemetry: Telemetry
    _ignored: frozenset[JobId] = field(default=frozenset(), init=False)

    def __call__(self, tick: DispatcherTick) -> DispatcherTick:
        """Fills `fitting`, `admitted` and `refused`."""
        if tick.book is None:
            raise BugError("admit needs the classes; resume reads them")
        self.launches.polled(tick.paused, tick.fence)
        candidates: list[tuple[Job, ClassName]] = []
        refused: list[tuple[Job, str]] = []
        ignored: set[JobId] = set()
        for job in sorted(tick.listed, key=lambda job: (-job.priority, job.scheduled_at, job.job_id)):
            if job.queue_key in tick.paused:
                continue
            match = tick.book.match(job.rules, job.queue_key)
            if not isinstance(match, Unmatched):
                candidates.append((job, match.name))
            elif self._refuses(job, tick):
                refused.append((job, match.reason))
            else:
                ignored.add(job.job_id)
                if job.job_id not in self._ignored:  # said once, for it is listed again every tick
                    self.telemetry.info("job_ignored", job_id=job.job_id, reason=match.reason)
        self._ignored = frozenset(ignored)
        if self.policy.launch_enabled:
            admitted, waiting = self._cut(candidates, tick, tick.book)
        else:
            admitted, waiting = [], _switched_off(candidates[:MAX_LISTED], tick.now)
        if self.policy.launch_enabled and not self.policy.observe_only:
            self.launches.look(len(admitted) + self.launches.wanted, tick.fence, tick.now)
        if len(admitted) < len(candidates):
            self.telemetry.info("jobs_waiting_for_capacity", count=len(candidates) - len(admitted))
        return replace(
            tick,
            fitting=tuple(job for job, _ in candidates),
            admitted=tuple(admitted),
            refused=tuple(refused),
            waiting=tuple(waiting),
        )

    def _refuses(self, job: Job, tick: DispatcherTick) -> bool:
        match self.policy.unmatched_jobs:
            case UnmatchedJobs.FAIL:
                return True
            case UnmatchedJobs.IGNORE:
                return False
            case UnmatchedJobs.AUTO:
                return job.queue_key in tick.clogging

    def _cut(
        self, candidates: list[tuple[Job, ClassName]], tick: DispatcherTick, book: ClassBook
    ) -> tuple[list[tuple[Job, ClassName]], list[Waiting]]:
        """The jobs that have their place within every bound, queue by queue in turn; and why the next ones have not."""
        live = [run for run in tick.active if run.give_up is None]
        waiting = sum(run.binding is None for run in live)
        memory = self.launches.memory(tick.fence) if candidates else LaunchMemory()
        bounds = {
            WaitReason.MAX_INSTANCES: self.policy.max_instances - len(live),
            WaitReason.EC2_BUDGET: memory.granted(self.policy.instance_budget, tick.now, LOOK_AHEAD) - waiting,
            WaitReason.LAUNCH_RATE: self.policy.max_launches_per_minute
            - memory.asked_within_a_minute(tick.now)
            - waiting,
        }
        tightest = min(bounds, key=lambda reason: bounds[reason])
        by_class = Counter(base_name(run.class_name) for run in live)
        vcpus = sum(_vcpus(book, run.class_name) for run in live)
        admitted: list[tuple[Job, ClassName]] = []
        kept: list[Waiting] = []
        for job, name in _in_turn(candidates):
            if len(admitted) >= bounds[tightest]:
                if len(kept) >= MAX_LISTED:
                    break
                kept += waits(job, name, tightest, tick.now)
                continue
            base = base_name(name)
            bound = book.classes[base].max_instances
            breaker = memory.breaker(name, tick.now)
            if bound is not None and by_class[base] >= bound:
                kept += waits(job, name, WaitReason.CLASS_MAXIMUM, tick.now, str(bound))
            elif self.policy.max_vcpus is not None and vcpus + _vcpus(book, name) > self.policy.max_vcpus:
                kept += waits(job, name, WaitReason.MAX_VCPUS, tick.now)
            elif breaker is not None:
                kept += waits(job, name, WaitReason.BROKEN, tick.now, breaker.message)
            else:
                by_class[base] += 1
                vcpus += _vcpus(book, name)
                admitted.append((job, name))
        return admitted, kept


def _switched_off(candidates: list[tuple[Job, ClassName]], now: datetime) -> list[Waiting]:
    return [kept for job, name in candidates for kept in waits(job, name, WaitReason.LAUNCH_DISABLED, now)]


def _vcpus(book: ClassBook, name: ClassName) -> int:
    """What a VM of that class counts as; one where the operator does not say."""
    vm_class = book.find(name)
    return (vm_class.vcpus if vm_class is not None else None) or 1


def _in_turn(candidates: list[tuple[Job, ClassName]]) -> Iterator[tuple[Job, ClassName]]:
    """One job of each queue in turn, each queue in its own order: a full queue does not starve the others."""
    by_queue: dict[QueueKey, list[tuple[Job, ClassName]]] = defaultdict(list)
    for candidate in candidates:
        by_queue[candidate[0].queue_key].append(candidate)
    for row in zip_longest(*by_queue.values()):
        yield from (candidate for candidate in row if candidate is not None)
