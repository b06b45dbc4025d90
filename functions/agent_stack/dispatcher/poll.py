"""Poll: lists the scheduled jobs of each queue.

The listing also keeps a queue "Connected" in Buildkite, so its first page is read in every cycle, even when the
dispatcher may start nothing.

Buildkite lists the oldest jobs first, and an urgent job can be the last one. So the dispatcher reads all pages of a
queue before it starts a job of it. Then it starts jobs of these pages for a while, because thousands of jobs take a
small function seconds to read: reading them takes a twelfth of the time, and none is older than thirty seconds. While
nothing can start it reads them every ten seconds, for the metrics.
"""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.first_pages import FirstPages
from agent_stack.dispatcher.launch_permission import LaunchPermission
from agent_stack.dispatcher.runnable_since import RunnableSince
from agent_stack.domain.classes import ClassBook, Unmatched
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import JobId, QueueKey
from agent_stack.domain.jobs import Job, Queue, ScheduledPage
from agent_stack.domain.measures import Metric
from agent_stack.domain.moments import has_passed
from agent_stack.domain.policy import Policy
from agent_stack.outages import Outages
from agent_stack.ports import Clock, StacksApi, Telemetry

MAX_PAGES = 10
"""Pages read from one queue in one cycle: 10,000 jobs at 1,000 on a page; the API allows 10 listings a second."""

MAX_FURTHER_PAGES = 18
"""Pages after the first ones, of all queues in one cycle: about two seconds of its lease, at 100 ms each. The queues
that this leaves out are the first ones of the next cycle."""

REFRESH = timedelta(seconds=10)
"""How old the last reading of all pages of a queue may be while nothing can start."""

REST = 12
"""All pages of a queue from which jobs start are read again after this many times as long as reading them took."""

LONGEST_REST = timedelta(seconds=30)
"""An urgent job behind a thousand others is seen after this time at the latest."""

FULL_PAGE = 1_000
"""A page with this many jobs may not be the last one."""


@dataclass(slots=True, kw_only=True)
class _Reading:
    """What one cycle reads of one queue.

    Attributes:
        failed: a page could not be read; what is behind it is not known.
        remembered: the pages behind these ones, as an earlier cycle read them.
    """

    queue: QueueKey
    pages: list[ScheduledPage] = field(default_factory=list)
    failed: bool = False
    remembered: tuple[ScheduledPage, ...] = ()

    @property
    def cursor(self) -> str | None:
        """Where to read on; None where there is nothing more to read."""
        ended = self.failed or not self.pages or self.pages[-1].paused or len(self.pages) >= MAX_PAGES
        return None if ended else self.pages[-1].next_cursor

    @property
    def complete(self) -> bool:
        """Whether the pages show every scheduled job of the queue."""
        if self.failed or not self.pages:
            return False
        last = self.pages[-1]  # `remembered` proves nothing: a job may have come since
        return not last.more and last.next_cursor is None and (last.pageable or len(last.jobs) < FULL_PAGE)


@dataclass(slots=True, kw_only=True)
class Poll:
    """Lists every queue from its start; the failure of one queue does not affect the others."""

    stacks: StacksApi
    queues: tuple[Queue, ...]
    policy: Policy
    clock: Clock
    telemetry: Telemetry
    permission: LaunchPermission = field(default_factory=LaunchPermission)
    first_pages: FirstPages | None = None
    _runnable_since: RunnableSince = field(default_factory=RunnableSince, init=False)
    _outages: Outages = field(default_factory=Outages, init=False)
    _read_at: dict[QueueKey, datetime] = field(default_factory=dict, init=False)
    """When all pages of each queue were read last."""
    _turns: dict[QueueKey, int] = field(default_factory=dict, init=False)
    """The order in which that was. A count, because a clock may be set back."""
    _took: dict[QueueKey, timedelta] = field(default_factory=dict, init=False)
    """How long that was, without the first page."""
    _rest: dict[QueueKey, tuple[ScheduledPage, ...]] = field(default_factory=dict, init=False, repr=False)
    """The pages behind the first one, as they were then, without the jobs that were begun since."""

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Fills `paused`, `operator_paused`, `clogging` and `listed`."""
        known = {run.job_id for run in cycle.active}
        if cycle.begun_before:
            self._forget(cycle.begun_before)
        listed: list[Job] = []
        paused: set[QueueKey] = set()
        clogging: set[QueueKey] = set()
        can_start = self.policy.launch_enabled and len(cycle.active) < self.policy.max_instances
        for reading in self._read_all(cycle, can_start=can_start):
            queue, pages = reading.queue, [*reading.pages, *(reading.remembered if reading.pages else ())]
            if not pages or any(page.paused for page in pages):
                paused.add(queue)  # without an answer the queue counts as paused, so that no job starts on a guess
            if pages and not pages[0].pageable:
                clogging.add(queue)
            if self._hides_others(pages, known, cycle.book):
                self.telemetry.warning("queue_clogged", queue=queue, count=len(pages[-1].jobs))
                self.telemetry.count(Metric.QUEUES_CLOGGED)
            found = {job.job_id: job for page in pages for job in page.jobs}.values()
            jobs = self._runnable_since(queue, found, complete=reading.complete, now=cycle.now) if pages else []
            listed += [job for job in jobs if job.job_id not in known]
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

    def _read_all(self, cycle: DispatcherCycle, *, can_start: bool) -> Sequence[_Reading]:
        """The first page of each queue, then the others, beginning with the queue whose turn was the longest ago."""
        readings = [_Reading(queue=queue.key) for queue in self.queues]
        for reading in readings:
            self._read_page(reading, partial(self._first_page, cycle, reading.queue))
        left = MAX_FURTHER_PAGES
        for reading in sorted(readings, key=lambda reading: self._turns.get(reading.queue, 0)):
            if not self._is_due(reading, cycle, can_start=can_start):
                reading.remembered = self._rest.get(reading.queue, ())
                continue
            began = self.clock.monotonic()
            while left > 0 and (cursor := reading.cursor) is not None:
                self._read_page(reading, partial(self.stacks.list_scheduled, reading.queue, cursor=cursor))
                left -= 1
            if reading.cursor is None:
                self._read_at[reading.queue] = cycle.now
                self._turns[reading.queue] = max(self._turns.values(), default=0) + 1
                self._took[reading.queue] = self.clock.monotonic() - began
                self._rest[reading.queue] = tuple(reading.pages[1:])
        return readings

    def _is_due(self, reading: _Reading, cycle: DispatcherCycle, *, can_start: bool) -> bool:
        """Whether all pages of that queue are to be read in this cycle."""
        queue, read_at = reading.queue, self._read_at.get(reading.queue)
        if not can_start:
            return has_passed(REFRESH, read_at, cycle.now)
        if reading.cursor is None or not self._rest.get(queue) or cycle.begun_before is None:
            return True
        return has_passed(min(LONGEST_REST, REST * self._took.get(queue, timedelta())), read_at, cycle.now)

    def _forget(self, begun: frozenset[JobId]) -> None:
        """Takes the jobs off the pages that an earlier cycle began, whatever became of them."""
        for queue, pages in self._rest.items():
            if any(job.job_id in begun for page in pages for job in page.jobs):
                left = (replace(page, jobs=tuple(j for j in page.jobs if j.job_id not in begun)) for page in pages)
                self._rest[queue] = tuple(left)

    def _first_page(self, cycle: DispatcherCycle, queue: QueueKey) -> ScheduledPage:
        """Listed while the ledger was read, or now."""
        return self.stacks.list_scheduled(queue) if self.first_pages is None else self.first_pages.of(cycle, queue)

    def _read_page(self, reading: _Reading, listed: Callable[[], ScheduledPage]) -> None:
        queue, number = reading.queue, len(reading.pages) + 1
        try:
            page = listed()
        except AgentStackError as error:
            reading.failed = True
            subject = f"{queue} page {number}"
            self._outages.serious(
                subject, self.telemetry, "queue_not_listed", queue=queue, page=number, error=str(error)
            )
            return
        reading.pages.append(page)
        if self._outages.is_over(f"{queue} page {number}"):
            self.telemetry.info("queue_listed_again", queue=queue, page=number)
