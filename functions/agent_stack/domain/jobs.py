"""What Buildkite tells of a scheduled job, and of the queue it waits in."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from agent_stack.domain.identifiers import JobId, QueueKey, StackKey

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A cluster queue that this deployment serves, and the key under which it is registered there."""

    key: QueueKey
    stack_key: StackKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as listed. Its rules, slug, branch and keys are text of the pipeline's author.

    Attributes:
        scheduled_at: when the job was created: what the order of jobs of one priority goes by.
        runnable_at: when nothing held it any more; None while the listing does not say and `poll` has not found it.
    """

    job_id: JobId
    queue_key: QueueKey
    scheduled_at: datetime
    runnable_at: datetime | None = None
    priority: int = 0
    rules: tuple[str, ...] = ()  # agent query rules, "key=value"
    pipeline_slug: str = ""
    pipeline_id: str = ""
    build_number: int | None = None
    build_branch: str = ""
    step_key: str | None = None

    @property
    def waits_since(self) -> datetime:
        """When its wait began: a job behind a wait step is much older than its wait."""
        return self.scheduled_at if self.runnable_at is None else self.runnable_at


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledPage:
    """One page of a queue's scheduled jobs, oldest first.

    Attributes:
        paused: the queue is paused; nothing of it may start.
        next_cursor: where the next page begins; None when this is the last one that can be asked for.
        pageable: further pages can be asked for at all; where not, jobs that nobody takes hide those behind them.
        more: the service says that there are jobs behind this page.
    """

    jobs: tuple[Job, ...]
    paused: bool
    next_cursor: str | None = None
    pageable: bool = True
    more: bool = False


def by_queue(items: Iterable[tuple[QueueKey, ItemT]]) -> Mapping[QueueKey, list[ItemT]]:
    """The items of each queue, in their order: Buildkite answers one queue at a time."""
    queues: dict[QueueKey, list[ItemT]] = defaultdict(list)
    for queue, item in items:
        queues[queue].append(item)
    return dict(queues)
