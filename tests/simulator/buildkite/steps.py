"""What a user writes: steps of a build, and the build they become."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from tests.simulator.buildkite.states import HELD, JobState

_QUEUE_RULE = "queue="


class StepKind(StrEnum):
    """Which of Buildkite's kinds a step is. Only a command's job is ever listed, and only an agent runs it."""

    COMMAND = "command"
    WAIT = "wait"
    """Passes by itself as soon as all that it waits for has passed."""
    BLOCK = "block"
    """Stays `blocked` from then on until a person releases it. An input step is one that others need not wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """One of a step's rules for automatic retries; None matches anything, and "none" that there is no such thing."""

    limit: int = 2
    exit_statuses: Sequence[int] | None = None
    signal: str | None = None
    signal_reason: str | None = None

    def matches(self, *, exit_status: int, signal: str | None, signal_reason: str | None) -> bool:
        """Whether a job that ended so is this rule's."""
        if self.exit_statuses is not None and exit_status not in self.exit_statuses:
            return False
        return _matches(self.signal, (signal or "").removeprefix("SIG")) and _matches(self.signal_reason, signal_reason)


def _matches(wanted: str | None, had: str | None) -> bool:
    if wanted is None:
        return True
    return (had or "none").lower() == wanted.lower().removeprefix("sig")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a pipeline, and the one job that comes of it.

    A step with parallelism or a matrix is written as several, which have the same `handle`.

    Args:
        key: The step's key; also how `Build.job_id` finds its job.
        handle: How the `waits_for` of others may name it besides; jobs with the same handle are one step's.
        badge: What the build page shows beside the label: which of a step's jobs it is.
        group: The label of the group that it stands in.
        skip: Why it is skipped; its job is `skipped` from the beginning, which counts as passed.
        soft_fail: Whether a failure does not fail the build, and steps that wait for it go on; or with which statuses.
        retry: Rules for automatic retries; the first one that matches says how often.
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
        waits_for: Keys or handles of steps of the same build that must pass first, as before a wait step. When one
            fails, the job is `waiting_failed` for ever, and so are those that wait for it.
        tolerates: Those of them that need only have ended.
        concurrency_group: Of the jobs that name the same group only `concurrency` are runnable at a time; the
            others are `limited`, the oldest first in line.
        timeout: How long the job may run before it is timed out.
    """

    command: str = "true"
    kind: StepKind = StepKind.COMMAND
    key: str | None = None
    handle: str = ""
    badge: str = ""
    group: str | None = None
    skip: str | None = None
    soft_fail: bool | Sequence[int] = False
    retry: Sequence[RetryRule] = ()
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
    tolerates: Sequence[str] = ()
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
        label = self.label or self.key or self.command.partition("\n")[0]
        return f"{label} ({self.badge})" if self.badge else label

    @property
    def names(self) -> tuple[str, ...]:
        """How others may name it in their `waits_for`."""
        return tuple(name for name in (self.key, self.handle) if name)

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

    def retry_limit(self, *, exit_status: int, signal: str | None = None, signal_reason: str | None = None) -> int:
        """How often a job of it is retried that ended so: by the first of its rules that matches."""
        if exit_status == 0:
            return 0
        plain = RetryRule(limit=self.retry_automatic_limit, exit_statuses=self.retry_exit_statuses)
        for rule in self.retry or (plain,):
            if rule.matches(exit_status=exit_status, signal=signal, signal_reason=signal_reason):
                return rule.limit
        return 0

    def forgives(self, exit_status: int) -> bool:
        """Whether a job of it that failed so is soft-failed."""
        if isinstance(self.soft_fail, bool):
            return self.soft_fail and exit_status != 0
        return exit_status in self.soft_fail


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
