"""What a user writes: steps of a build, and the build they become."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.simulator.buildkite.states import HELD, JobState

_QUEUE_RULE = "queue="


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command step of a pipeline.

    Args:
        key: The step's key; also how `Build.job_id` finds its job.
        label: What the build page shows; the key or command when empty.
        queue: Key of the cluster queue. None: the `queue=` rule in `agents`, else the default queue.
        agents: Agent rules "key=value"; the queue's rule need not be repeated.
        priority: Higher runs sooner. None: the pipeline names none, which counts as 0.
        retry_automatic_limit: How many times a failed job is retried, each time as a new job.
        retry_exit_statuses: Exit statuses that are retried; None: every one but 0.
        scheduled_at: In the past: the job is listed as old as this. None: when its build was created, whatever
            holds the job back afterwards.
        held: The state in which the job is created and not listed, until `Buildkite.release`; one of `HELD`.
        runnable_after: How long after its creation the job is released by itself; it is `waiting` until then
            where `held` does not say otherwise.
        waits_for: Keys of steps of the same build that must pass first, as before a wait step. When one fails,
            the job is `waiting_failed` for ever.
        concurrency_group: Of the jobs that name the same group only `concurrency` are runnable at a time; the
            others are `limited`, the oldest first in line.
        timeout: How long the job may run before it is timed out.
    """

    command: str = "true"
    key: str | None = None
    label: str = ""
    queue: str | None = None
    agents: Sequence[str] = ()
    priority: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    retry_automatic_limit: int = 0
    retry_exit_statuses: Sequence[int] | None = None
    scheduled_at: datetime | None = None
    held: JobState | None = None
    runnable_after: timedelta | None = None
    waits_for: Sequence[str] = ()
    concurrency_group: str | None = None
    concurrency: int = 1
    timeout: timedelta | None = None

    def __post_init__(self) -> None:
        """Refuse what no pipeline can mean."""
        if self.held is not None and self.held not in HELD:
            raise ValueError(f"a job cannot be held in the state {self.held}")
        if self.concurrency < 1:
            raise ValueError("a concurrency group lets at least one job run")

    @property
    def shown_label(self) -> str:
        """What the build page shows."""
        return self.label or self.key or self.command

    @property
    def agent_query_rules(self) -> tuple[str, ...]:
        """The rules as the service lists them, the queue's first."""
        others = tuple(rule for rule in self.agents if not rule.startswith(_QUEUE_RULE))
        queue = self.stated_queue
        return (f"{_QUEUE_RULE}{queue}", *others) if queue is not None else others

    @property
    def stated_queue(self) -> str | None:
        """The queue the step names, or None when it leaves the choice to the cluster."""
        if self.queue is not None:
            return self.queue
        named = [rule.removeprefix(_QUEUE_RULE) for rule in self.agents if rule.startswith(_QUEUE_RULE)]
        return named[0] if named else None

    def retries(self, exit_status: int | None) -> bool:
        """Whether a job that ended with this exit status is worth another try."""
        if exit_status is None or exit_status == 0:
            return False
        return self.retry_exit_statuses is None or exit_status in self.retry_exit_statuses


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A build as it was created. Retries add jobs later; follow `JobView.retried_by` to them."""

    id: str
    number: int
    pipeline_slug: str
    pipeline_id: str
    branch: str | None
    commit: str
    message: str
    created_at: datetime
    steps: tuple[Step, ...]
    job_ids: tuple[str, ...]

    def job_id(self, key: str) -> str:
        """The first job of the step with that key.

        Raises:
            KeyError: No step has the key.
        """
        for step, job_id in zip(self.steps, self.job_ids, strict=True):
            if step.key == key:
                return job_id
        raise KeyError(key)
