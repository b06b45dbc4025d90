"""Runnable since: when each listed job became runnable, where the listing does not say.

`scheduled_at` is the time of a job's creation. A job behind a wait step is many minutes old when it is listed first. So
its wait begins at the last complete listing of its queue in which it was absent, or at its creation if that is later.
One process knows only the listings that it read itself: of a job in its first listing it knows the creation alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from agent_stack.domain.identifiers import JobId, QueueKey
from agent_stack.domain.jobs import Job

MAX_REMEMBERED = 10_000
"""Jobs of one queue: as many as `poll` reads. Beyond them the memory is dropped, and creation counts."""


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What is known of one queue.

    Attributes:
        since: when each job became runnable that was listed and may still be.
        complete_at: when a listing showed all jobs; None before the first one, and after the memory was dropped.
    """

    since: dict[JobId, datetime] = field(default_factory=dict)
    complete_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class RunnableSince:
    """The memory of one process: at most `MAX_REMEMBERED` jobs of each queue that is served."""

    _queues: dict[QueueKey, _Seen] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, queue: QueueKey, listed: Iterable[Job], *, complete: bool, now: datetime) -> list[Job]:
        """These jobs, each with `runnable_at`.

        Args:
            complete: the listing shows every scheduled job of the queue, so a job that is missing was not runnable.
        """
        seen = self._queues.setdefault(queue, _Seen())
        jobs = [self._runnable(job, seen, now) for job in listed]
        self._learn(seen, jobs, complete=complete, now=now)
        return jobs

    @staticmethod
    def _runnable(job: Job, seen: _Seen, now: datetime) -> Job:
        """The job with `runnable_at`: not before it was created and not in the future, whatever the clocks say."""
        known = job.runnable_at or seen.since.get(job.job_id) or seen.complete_at or job.scheduled_at
        at = max(job.scheduled_at, min(known, now))
        return job if at == job.runnable_at else replace(job, runnable_at=at)

    @staticmethod
    def _learn(seen: _Seen, jobs: Sequence[Job], *, complete: bool, now: datetime) -> None:
        """Only a complete listing proves that a job is gone; others add to what is known."""
        latest = {job.job_id: job.waits_since for job in jobs}
        seen.since = latest if complete else seen.since | latest
        seen.complete_at = now if complete else seen.complete_at
        if len(seen.since) > MAX_REMEMBERED:
            seen.since, seen.complete_at = {}, None
