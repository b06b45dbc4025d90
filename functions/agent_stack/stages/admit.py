"""Admit: which of the listed jobs start now.

What is not admitted stays scheduled, in Buildkite's hands; nothing is promised that cannot be launched.
"""

from collections import Counter
from dataclasses import dataclass, field, replace

from agent_stack.domain.classes import ClassBook, Unmatched
from agent_stack.domain.errors import BugError
from agent_stack.domain.identifiers import ClassName, JobId
from agent_stack.domain.jobs import Job
from agent_stack.domain.policy import Policy, UnmatchedJobs
from agent_stack.ports import Telemetry
from agent_stack.stages.ticks import DispatcherTick


@dataclass(slots=True, kw_only=True)
class Admit:
    """Matches jobs to classes, orders them by priority and age, and cuts to the free capacity."""

    policy: Policy
    telemetry: Telemetry
    _ignored: frozenset[JobId] = field(default=frozenset(), init=False)

    def __call__(self, tick: DispatcherTick) -> DispatcherTick:
        """Fills `admitted` and `refused`."""
        if tick.book is None:
            raise BugError("admit needs the classes; resume reads them")
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
        admitted = self._cut(candidates, tick, tick.book) if self.policy.launch_enabled else []
        if len(admitted) < len(candidates):
            self.telemetry.info("jobs_waiting_for_capacity", count=len(candidates) - len(admitted))
        return replace(tick, admitted=tuple(admitted), refused=tuple(refused))

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
    ) -> list[tuple[Job, ClassName]]:
        live = [run for run in tick.active if run.give_up is None]
        free = self.policy.max_instances - len(live)
        by_class = Counter(run.class_name for run in live)
        admitted: list[tuple[Job, ClassName]] = []
        for job, name in candidates:
            bound = book.classes[name].max_instances
            if len(admitted) >= free:
                break
            if bound is not None and by_class[name] >= bound:
                continue
            by_class[name] += 1
            admitted.append((job, name))
        return admitted
