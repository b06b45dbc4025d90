"""One job: what the model keeps of it, and the frozen view of it that callers get."""

from dataclasses import dataclass, field
from datetime import datetime

from tests.simulator.buildkite.job_log import JobLog
from tests.simulator.buildkite.states import JobState
from tests.simulator.buildkite.steps import Build, Step, StepKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One line under a job on the build page."""

    at: datetime
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StackFinish:
    """How a stack finished a job that no agent ran."""

    at: datetime
    stack_key: str
    exit_status: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job's command ended. Exit status -1 stands for "not known"."""

    exit_status: int
    signal: str | None = None
    signal_reason: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job at one moment, for a test or a demo to look at.

    `scheduled_at` is how old the job is in a listing, `runnable_at` when it became eligible for an agent (None while
    something holds it back), and `deleted` that its build was deleted: no API knows it any more. Notifications stand
    in the order of the build page, by their times. `soft_failed` is a failure that its step forgives.
    """

    id: str
    kind: StepKind
    group: str | None
    soft_failed: bool
    skip: str | None
    build_id: str
    build_number: int
    pipeline_slug: str
    key: str | None
    label: str
    command: str
    queue_key: str
    agent_query_rules: tuple[str, ...]
    priority: int | None
    state: JobState
    timeline: tuple[tuple[JobState, datetime], ...]
    created_at: datetime
    scheduled_at: datetime
    runnable_at: datetime | None
    deleted: bool
    reserved_by: str | None
    reserved_until: datetime | None
    notifications: tuple[Notification, ...]
    exit_status: int | None
    signal: str | None
    signal_reason: str | None
    end_detail: str | None
    stack_finish: StackFinish | None
    agent_id: str | None
    agent_name: str | None
    log: str
    retry_of: str | None
    retried_by: str | None

    def entered(self, state: JobState) -> datetime | None:
        """When the job first entered a state, or None if it never did."""
        return next((at for entered, at in self.timeline if entered is state), None)


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """The model's own record of a job; only the model changes it."""

    id: str
    sequence: int
    build: Build
    step: Step
    step_id: str
    queue_key: str
    env: dict[str, str]
    token: str
    created_at: datetime
    scheduled_at: datetime
    state: JobState
    runnable_at: datetime | None = None
    deleted: bool = False
    timeline: list[tuple[JobState, datetime]] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)
    outcome: Outcome | None = None
    stack_finish: StackFinish | None = None
    finished_at: datetime | None = None
    agent_id: str | None = None
    agent_name: str | None = None
    log: JobLog = field(default_factory=JobLog)
    retry_of: str | None = None
    retried_by: str | None = None
    retry_count: int = 0
    disguise: str | None = None
    """A state of the future to show on the wire in place of the real one."""
    withheld: bool = False
    """Whether answers about states leave it out."""

    @property
    def passed(self) -> bool:
        """Whether steps that wait for it may go on."""
        if self.state is JobState.SKIPPED:
            return True
        ended_with = self.outcome.exit_status if self.state is JobState.FINISHED and self.outcome else None
        return ended_with is not None and (ended_with == 0 or self.step.forgives(ended_with))

    @property
    def is_retried(self) -> bool:
        """Whether a new job takes its place, now or in a moment."""
        end = self.outcome
        if self.state is not JobState.FINISHED or end is None:
            return False
        limit = self.step.retry_limit(exit_status=end.exit_status, signal=end.signal, signal_reason=end.signal_reason)
        return self.retry_count < limit

    def view(self, *, reserved_by: str | None, reserved_until: datetime | None) -> JobView:
        """The job as it is now."""
        outcome = self.outcome
        return JobView(
            id=self.id,
            kind=self.step.kind,
            group=self.step.group,
            soft_failed=self.passed and outcome is not None and outcome.exit_status != 0,
            skip=self.step.skip,
            build_id=self.build.id,
            build_number=self.build.number,
            pipeline_slug=self.build.pipeline_slug,
            key=self.step.key,
            label=self.step.shown_label,
            command=self.step.command,
            queue_key=self.queue_key,
            agent_query_rules=self.step.agent_query_rules,
            priority=self.step.priority,
            state=self.state,
            timeline=tuple(self.timeline),
            created_at=self.created_at,
            scheduled_at=self.scheduled_at,
            runnable_at=self.runnable_at,
            deleted=self.deleted,
            reserved_by=reserved_by,
            reserved_until=reserved_until,
            notifications=tuple(sorted(self.notifications, key=lambda notification: notification.at)),
            exit_status=outcome.exit_status if outcome else None,
            signal=outcome.signal if outcome else None,
            signal_reason=outcome.signal_reason if outcome else None,
            end_detail=outcome.detail if outcome else None,
            stack_finish=self.stack_finish,
            agent_id=self.agent_id,
            agent_name=self.agent_name,
            log=self.log.text,
            retry_of=self.retry_of,
            retried_by=self.retried_by,
        )
