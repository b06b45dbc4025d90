"""Poll: lists the scheduled jobs of each queue.

The listing also keeps a queue "Connected" in Buildkite, so it runs even when the dispatcher may start nothing.
"""

from collections.abc import Container
from dataclasses import dataclass, field, replace

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.launch_permission import LaunchPermission
from agent_stack.domain.classes import ClassBook, Unmatched
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import JobId, QueueKey
from agent_stack.domain.jobs import Job, Queue, ScheduledPage
from agent_stack.domain.measures import Metric
from agent_stack.domain.policy import Policy
from agent_stack.ports import StacksApi, Telemetry

MAX_PAGES = 10
"""Pages read from one queue in one cycle: 10,000 jobs at 1,000 on a page; the API allows 10 listings a second."""

FULL_PAGE = 1_000
"""A page with this many jobs may not be the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """Lists every queue from its start; the failure of one queue does not affect the others."""

    stacks: StacksApi
    queues: tuple[Queue, ...]
    policy: Policy
    telemetry: Telemetry
    permission: LaunchPermission = field(default_factory=LaunchPermission)

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Fills `paused`, `operator_paused`, `clogging` and `listed`."""
        known = {run.job_id for run in cycle.active}
        free = max(0, self.policy.max_instances - len(cycle.active))
        listed: list[Job] = []
        paused: set[QueueKey] = set()
        clogging: set[QueueKey] = set()
        for queue in self.queues:
            pages = self._read(queue.key, free, known, cycle.book)
            if not pages or any(page.paused for page in pages):
                paused.add(queue.key)  # without an answer the queue counts as paused, so that no job starts on a guess
            if pages and not pages[0].pageable:
                clogging.add(queue.key)
            if self._hides_others(pages, known, cycle.book):
                self.telemetry.warning("queue_clogged", queue=queue.key, count=len(pages[-1].jobs))
                self.telemetry.count(Metric.QUEUES_CLOGGED)
            listed += {job.job_id: job for page in pages for job in page.jobs if job.job_id not in known}.values()
        by_operator = self.permission.pauses.among(queue.key for queue in self.queues)
        return replace(
            cycle,
            listed=tuple(listed),
            paused=frozenset(paused) | by_operator.keys(),
            operator_paused=by_operator,
            clogging=frozenset(clogging),
        )

    @staticmethod
    def _hides_others(pages: list[ScheduledPage], known: Container[JobId], book: ClassBook | None) -> bool:
        """Whether the last readable page holds only jobs that cannot start, so that jobs behind it never start."""
        if not pages or book is None:
            return False
        last = pages[-1]
        is_last_allowed = len(pages) == MAX_PAGES and last.next_cursor is not None
        if not is_last_allowed and (last.pageable or len(last.jobs) < FULL_PAGE):
            return False
        return all(
            job.job_id in known or isinstance(book.match(job.rules, job.queue_key), Unmatched) for job in last.jobs
        )

    def _read(
        self, queue: QueueKey, needed: int, known: Container[JobId], book: ClassBook | None
    ) -> list[ScheduledPage]:
        """Reads pages until they hold `needed` jobs that can start. A failed page ends the reading.

        Jobs with a run, and jobs that match no class, do not count: jobs behind them may be able to start.
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
            if page.paused or cursor is None or found >= needed:
                break
        return pages
