"""Poll: ask each queue for its scheduled jobs.

Listing is what keeps a queue "Connected" for the people who look at it, so it goes on even when nothing may
start.
"""

from collections.abc import Container
from dataclasses import dataclass, replace

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.domain.classes import ClassBook, Unmatched
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import JobId, QueueKey
from agent_stack.domain.jobs import Job, Queue, ScheduledPage
from agent_stack.domain.measures import Metric
from agent_stack.domain.policy import Policy
from agent_stack.ports import StacksApi, Telemetry

MAX_PAGES = 10
"""Pages read from one queue in one cycle: 10,000 jobs at the API's 1,000 a page, and the API's 10 listings a second."""

FULL_PAGE = 1_000
"""Jobs on a page behind which there may be more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """Lists every queue from its start; one queue's failure does not hide the others' jobs."""

    stacks: StacksApi
    queues: tuple[Queue, ...]
    policy: Policy
    telemetry: Telemetry

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Fills `paused`, `clogging` and `listed`."""
        known = {run.job_id for run in cycle.active}
        free = max(0, self.policy.max_instances - len(cycle.active))
        listed: list[Job] = []
        paused: set[QueueKey] = set()
        clogging: set[QueueKey] = set()
        for queue in self.queues:
            pages = self._read(queue.key, free, known, cycle.book)
            if not pages or any(page.paused for page in pages):
                paused.add(queue.key)  # unknown is treated as paused: nothing new starts on a guess
            if pages and not pages[0].pageable:
                clogging.add(queue.key)
            if self._hides_others(pages, known, cycle.book):
                self.telemetry.warning("queue_clogged", queue=queue.key, count=len(pages[-1].jobs))
                self.telemetry.count(Metric.QUEUES_CLOGGED)
            listed += {job.job_id: job for page in pages for job in page.jobs if job.job_id not in known}.values()
        return replace(cycle, listed=tuple(listed), paused=frozenset(paused), clogging=frozenset(clogging))

    @staticmethod
    def _hides_others(pages: list[ScheduledPage], known: Container[JobId], book: ClassBook | None) -> bool:
        """Whether the last page that can be had is full of jobs that will not start: those behind it never will."""
        if not pages or book is None:
            return False
        last = pages[-1]
        at_the_end = len(pages) == MAX_PAGES and last.next_cursor is not None
        if not at_the_end and (last.pageable or len(last.jobs) < FULL_PAGE):
            return False
        return all(
            job.job_id in known or isinstance(book.match(job.rules, job.queue_key), Unmatched) for job in last.jobs
        )

    def _read(
        self, queue: QueueKey, wanted: int, known: Container[JobId], book: ClassBook | None
    ) -> list[ScheduledPage]:
        """The pages until `wanted` jobs are found that may start; a later page that fails costs only itself.

        Jobs that are known already, or that no class fits, do not count: behind them may be those that can start.
        """
        pages: list[ScheduledPage] = []
        found = 0
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            try:
                page = self.stacks.list_scheduled(queue, cursor=cursor)
            except AgentStackError as error:
                self.telemetry.error("queue_not_listed", queue=queue, page=len(pages) + 1, error=str(error))
                break
            pages.append(page)
            cursor = page.next_cursor
            found += sum(
                job.job_id not in known and (book is None or not isinstance(book.match(job.rules, queue), Unmatched))
                for job in page.jobs
            )
            if page.paused or cursor is None or found >= wanted:
                break
        return pages
