"""Buildkite port: the Stacks API, as the steps use it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import (
    JobId,
    QueueKey,
    StackKey,
)
from agent_stack.domain.jobs import ScheduledPage
from agent_stack.domain.states import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStates:
    """States by job, and the errors of failed requests. Without errors, a missing id is unknown to Buildkite."""

    states: Mapping[JobId, JobState]
    errors: tuple[AgentStackError, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """Jobs that Buildkite reserved for the requested time, jobs that it refused, and the errors of failed requests."""

    reserved: frozenset[JobId]
    not_reserved: frozenset[JobId]
    errors: tuple[AgentStackError, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class JobTokens:
    """Job acquisition tokens by job. Holds credentials, so its repr shows counts only."""

    tokens: Mapping[JobId, str]
    not_issued: frozenset[JobId]
    errors: tuple[AgentStackError, ...] = ()

    def __repr__(self) -> str:
        return f"JobTokens(issued={len(self.tokens)}, not_issued={len(self.not_issued)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDetails:
    """One job's environment and command, as its pipeline wrote them. Can be large; never logged."""

    job_id: JobId
    env: Mapping[str, str] = field(repr=False)
    command: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIdentity:
    """The organization, cluster and queue of an agent token. Any part may be unknown."""

    organization: str | None
    cluster: str | None
    queue: QueueKey | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One text for the build page of one job."""

    job_id: JobId
    text: str
    at: datetime


class StacksApi(Protocol):
    """Buildkite's Stacks API, for all queues of this deployment.

    Batches can have any length. They are split by the API's limits; a failed part does not lose the results of the
    others.
    """

    def register(self, queue: QueueKey) -> None:
        """Registers the queue's stack key. Idempotent."""

    def deregister(self, queue: QueueKey) -> None:
        """Deregisters the queue's stack key. An unknown key is no error."""

    def withdraw(self, stack_key: StackKey) -> None:
        """Deregisters any stack key, also of a queue that is not served any more. An unknown key is no error."""

    def token_identity(self) -> TokenIdentity | None:
        """What the agent token is for; None when the service has no such endpoint."""

    def list_scheduled(self, queue: QueueKey, *, cursor: str | None = None) -> ScheduledPage:
        """Returns one page of scheduled jobs, oldest first, from the cursor or from the start."""

    def job_details(self, queue: QueueKey, job_id: JobId) -> JobDetails:
        """Returns environment and command of one job."""

    def reserve(self, queue: QueueKey, job_ids: Sequence[JobId], expiry: timedelta) -> Reserved:
        """Reserves jobs, or extends existing reservations of this stack."""

    def job_states(self, queue: QueueKey, job_ids: Sequence[JobId]) -> JobStates:
        """Returns the current states of jobs."""

    def issue_tokens(self, queue: QueueKey, job_ids: Sequence[JobId], lifetime: timedelta) -> JobTokens:
        """Issues a job acquisition token for each job that this stack has reserved."""

    def finish(self, queue: QueueKey, job_id: JobId, *, exit_status: int, detail: str) -> None:
        """Finishes a job that no agent will run.

        Raises:
            UnknownOutcomeError: the job may be finished; read its state.
            GiveUpError: Buildkite refuses, because the job is over or no longer reserved by this stack.
        """

    def notify(self, queue: QueueKey, notifications: Sequence[Notification]) -> Mapping[JobId, AgentStackError]:
        """Sends notifications to build pages. Returns the jobs whose notification failed, with the error.

        With NotAskedError nothing was sent to this job's page, because the others took too long.
        """
