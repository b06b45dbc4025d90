"""What Buildkite tells of a scheduled job, and of the queue it waits in."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self, TypeVar

from agent_stack.domain.identifiers import JobId, QueueKey, StackKey
from agent_stack.domain.texts import crop_bytes, printable

ItemT = TypeVar("ItemT")

MAX_UUID_BYTES = 36
MAX_SLUG_BYTES = 48
MAX_BUILD_NUMBER = 10**9
SHORTEST_PART = 4
ORIGIN_SEPARATOR = "|"
SEPARATORS = 3


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
class Origin:
    """Where a job comes from, cropped: what its build's URL, its cost and its session need.

    Each part is "" or None where the listing did not say.
    """

    pipeline_slug: str = ""
    pipeline_id: str = ""
    build_number: int | None = None
    build_branch: str = ""

    @classmethod
    def of(cls, job: Job, *, room: int) -> Self:
        """The origin of that job in that many bytes: number, uuid and slug first, then what fits of the branch."""
        left = room - SEPARATORS - len(str(job.build_number))
        number = job.build_number if left >= 0 and 0 <= (job.build_number or 0) < MAX_BUILD_NUMBER else None
        parts: list[str] = []
        texts = (
            (job.pipeline_id.replace(ORIGIN_SEPARATOR, " "), MAX_UUID_BYTES),
            (job.pipeline_slug.replace(ORIGIN_SEPARATOR, " "), MAX_SLUG_BYTES),
            (job.build_branch, left),  # the last part, so it may have the separator
        )
        for text, most in texts:
            shown = " ".join(printable(text).split())
            fits = min(most, left)
            parts.append(crop_bytes(shown, fits) if fits >= SHORTEST_PART else "")
            left -= len(parts[-1].encode())
        return cls(pipeline_id=parts[0], pipeline_slug=parts[1], build_number=number, build_branch=parts[2])


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
