"""Buildkite's Stacks API, as the steps see it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import (
    JobId,
    QueueKey,
)
from agent_stack.domain.jobs import ScheduledPage
from agent_stack.domain.states import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStates:
    """States by job, and what could not be looked up. An id in neither is one Buildkite did not name."""

    states: Mapping[JobId, JobState]
    errors: tuple[AgentStackError, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """Which jobs are ours for the time asked for, which are not, and which were not asked about in the end."""

    reserved: frozenset[JobId]
    not_reserved: frozenset[JobId]
    errors: tuple[AgentStackError, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class JobTokens:
    """Acquisition tokens by job. Holds credentials; its repr shows counts only."""

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
    """What an agent token stands for. Any part may be unknown."""

    organization: str | None
    cluster: str | None
    queue: QueueKey | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One text for one job's build page."""

    job_id: JobId
    text: str
    at: datetime


class StacksApi(Protocol):
    """Buildkite's Stacks API, for all queues of this deployment.

    Batches of any length: chunked to the API's limits, and the results of good chunks survive a bad one.
    """

    def register(self, queue: QueueKey) -> None:
        """Make the queue's stack key known. Idempotent."""

    def deregister(self, queue: QueueKey) -> None:
        """Withdraw the queue's stack key. Unknown keys are no error."""

    def token_identity(self) -> TokenIdentity | None:
        """What the agent token stands for; None where the service does not tell."""

    def list_scheduled(self, queue: QueueKey, *, cursor: str | None = None) -> ScheduledPage:
        """One page of scheduled jobs, oldest first, from the cursor or from the start."""

    def job_details(self, queue: QueueKey, job_id: JobId) -> JobDetails:
        """Environment and command of one job."""

    def reserve(self, queue: QueueKey, job_ids: Sequence[JobId], expiry: timedelta) -> Reserved:
        """Reserve, or extend what is ours already."""

    def job_states(self, queue: QueueKey, job_ids: Sequence[JobId]) -> JobStates:
        """The jobs' states now."""

    def issue_tokens(self, queue: QueueKey, job_ids: Sequence[JobId], lifetime: timedelta) -> JobTokens:
        """An acquisition token for each job reserved by us."""

    def finish(self, queue: QueueKey, job_id: JobId, *, exit_status: int, detail: str) -> None:
        """Finish a job no agent will run.

        Raises:
            UnknownOutcomeError: it may be finished; read its state.
            GiveUpError: Buildkite refuses; the job is over or no longer ours.
        """

    def notify(self, queue: QueueKey, notifications: Sequence[Notification]) -> Mapping[JobId, AgentStackError]:
        """Tell the build pages. The answer holds the jobs whose page was not told, and why."""
