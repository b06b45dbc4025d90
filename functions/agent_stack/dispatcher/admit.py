"""Admit: chooses the listed jobs that start now.

A job that is not admitted stays scheduled in Buildkite, because a reservation without a VM would only delay it.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import zip_longest

from agent_stack.dispatcher.capacity_cache import CapacityCache
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.vm_prefetch import VmPrefetch
from agent_stack.domain.capacity import LOOK_AHEAD, LaunchMemory
from agent_stack.domain.classes import ClassBook, Unmatched, base_name
from agent_stack.domain.errors import BugError
from agent_stack.domain.identifiers import ClassName, JobId
from agent_stack.domain.jobs import Job, by_queue
from agent_stack.domain.policy import Policy, UnmatchedJobs
from agent_stack.domain.waiting import MAX_LISTED, Waiting, WaitReason, waits
from agent_stack.ports import Telemetry


@dataclass(slots=True, kw_only=True)
class Admit:
    """Matches jobs to classes, orders them by priority and age, and admits as many as EC2 can launch within seconds."""

    capacity: CapacityCache
    prefetch: VmPrefetch
    policy: Policy
    telemetry: Telemetry
    _ignored: frozenset[JobId] = field(default=frozenset(), init=False)

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Fills `vm_listing`, `fitting`, `admitted`, `refused` and `waiting`."""
        if cycle.book is None:
            raise BugError("admit needs the classes; resume reads them")
        candidates: list[tuple[Job, ClassName]] = []
        refused: list[tuple[Job, str]] = []
        ignored: set[JobId] = set()
        held: list[Waiting] = []
        for job in sorted(cycle.listed, key=lambda job: (-job.priority, job.scheduled_at, job.job_id)):
            pause = cycle.operator_paused.get(job.queue_key)
            if job.queue_key in cycle.paused and pause is None:
                continue  # Buildkite shows that its queue is paused
            match = cycle.book.match(job.rules, job.queue_key)
            if pause is not None:
                name = ClassName("") if isinstance(match, Unmatched) else match.name
                held += waits(job, name, WaitReason.PAUSED, cycle.now, pause.words)
                continue
            if not isinstance(match, Unmatched):
                candidates.append((job, match.name))
            elif self._refuses(job, cycle):
                refused.append((job, match.reason))
            else:
                ignored.add(job.job_id)
                if job.job_id not in self._ignored:  # logged once, because every cycle lists the job again
                    self.telemetry.info("job_ignored", job_id=job.job_id, reason=match.reason)
        self._ignored = frozenset(ignored)
        if self.policy.launch_enabled:
            admitted, waiting = self._cut(candidates, cycle, cycle.book)
        else:
            admitted, waiting = [], _launches_disabled(candidates[:MAX_LISTED], cycle.now)
        cycle = self.prefetch.start(cycle, len(admitted) + cycle.expected_launches)
        if len(admitted) < len(candidates):
            self.telemetry.info("jobs_waiting_for_capacity", count=len(candidates) - len(admitted))
        return replace(
            cycle,
            fitting=tuple(job for job, _ in candidates),
            admitted=tuple(admitted),
            refused=tuple(refused),
            waiting=(*held[:MAX_LISTED], *waiting)[:MAX_LISTED],
        )

    def _refuses(self, job: Job, cycle: DispatcherCycle) -> bool:
        match self.policy.unmatched_jobs:
            case UnmatchedJobs.FAIL:
                return True
            case UnmatchedJobs.IGNORE:
                return False
            case UnmatchedJobs.AUTO:
                return job.queue_key in cycle.clogging

    def _cut(
        self, candidates: list[tuple[Job, ClassName]], cycle: DispatcherCycle, book: ClassBook
    ) -> tuple[list[tuple[Job, ClassName]], list[Waiting]]:
        """The jobs within every limit, one of each queue in turn; and the next ones with the limit that stops them."""
        live = [run for run in cycle.active if run.failure_reason is None]
        waiting = sum(run.binding is None for run in live)
        memory = self.capacity.under(cycle.fence) if candidates else LaunchMemory()
        bounds = {
            WaitReason.MAX_INSTANCES: self.policy.max_instances - len(live),
            WaitReason.EC2_BUDGET: memory.granted(self.policy.instance_budget, cycle.now, LOOK_AHEAD) - waiting,
            WaitReason.LAUNCH_RATE: self.policy.max_launches_per_minute
            - memory.asked_within_a_minute(cycle.now)
            - waiting,
        }
        tightest = min(bounds, key=lambda reason: bounds[reason])
        by_class = Counter(base_name(run.class_name) for run in live)
        vcpus = sum(_vcpus(book, run.class_name) for run in live)
        admitted: list[tuple[Job, ClassName]] = []
        postponed: list[Waiting] = []
        for job, name in _in_turn(candidates):
            if len(admitted) >= bounds[tightest]:
                if len(postponed) >= MAX_LISTED:
                    break
                postponed += waits(job, name, tightest, cycle.now)
                continue
            base = base_name(name)
            bound = book.classes[base].max_instances
            breaker = memory.breaker(name, cycle.now)
            if bound is not None and by_class[base] >= bound:
                postponed += waits(job, name, WaitReason.CLASS_MAXIMUM, cycle.now, str(bound))
            elif self.policy.max_vcpus is not None and vcpus + _vcpus(book, name) > self.policy.max_vcpus:
                postponed += waits(job, name, WaitReason.MAX_VCPUS, cycle.now)
            elif breaker is not None:
                postponed += waits(job, name, WaitReason.BROKEN, cycle.now, breaker.message)
            else:
                by_class[base] += 1
                vcpus += _vcpus(book, name)
                admitted.append((job, name))
        return admitted, postponed


def _launches_disabled(candidates: list[tuple[Job, ClassName]], now: datetime) -> list[Waiting]:
    return [postponed for job, name in candidates for postponed in waits(job, name, WaitReason.LAUNCH_DISABLED, now)]


def _vcpus(book: ClassBook, name: ClassName) -> int:
    """The vCPUs of a VM of this class; 1 when the class does not say."""
    vm_class = book.find(name)
    return (vm_class.vcpus if vm_class is not None else None) or 1


def _in_turn(candidates: list[tuple[Job, ClassName]]) -> Iterator[tuple[Job, ClassName]]:
    """One job of each queue in turn, each queue in its own order, so that a long queue does not starve the others."""
    for row in zip_longest(*by_queue((job.queue_key, (job, name)) for job, name in candidates).values()):
        yield from (candidate for candidate in row if candidate is not None)
