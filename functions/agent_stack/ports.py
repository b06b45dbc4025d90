"""What the stages ask of the world, as Protocols. Adapters keep these promises; the simulator keeps them too.

Every method raises errors of `agent_stack.domain.errors` only. Every method is one effect or one read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from agent_stack.domain.attempts import Earlier
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import ClassBook, VmClass
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import (
    InstanceArn,
    InstanceId,
    IntentId,
    JobId,
    QueueKey,
)
from agent_stack.domain.jobs import ScheduledPage
from agent_stack.domain.launching import Intent, LaunchOrder, LaunchOutcome
from agent_stack.domain.measures import Metric
from agent_stack.domain.programs import PublishedProgram, VmProgram
from agent_stack.domain.runs import Run
from agent_stack.domain.states import JobState, Market
from agent_stack.domain.vms import Letter, Mail, Vm
from agent_stack.domain.waiting import Waiting, WaitingList

ResultT_co = TypeVar("ResultT_co", covariant=True)
ResultT = TypeVar("ResultT")


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


class Fleet(Protocol):
    """EC2: the VMs that carry this deployment's tag."""

    def pools(self, vm_class: VmClass, market: Market) -> Sequence[str]:
        """Where that class's VMs can come from, as `market:type:zone`, in the operator's order of types.

        Raises:
            RetryError: the subnets' zones are not known yet.
        """

    def render(self, order: LaunchOrder) -> str:
        """The exact request for that order, as text; what the intent keeps and `launch` sends."""

    def launch(self, request: str) -> LaunchOutcome:
        """Send that request. Sending the same text again launches nothing more.

        Raises:
            UnknownOutcomeError: VMs may exist; replay, or look them up by the intent.
            RetryError: throttled; nothing was launched. Every other refusal is an error of the outcome.
        """

    def describe(self) -> Sequence[Vm]:
        """All VMs with our tag that have not ended. Fresh ones may be missing.

        Raises:
            RetryError: the answer is not whole; it proves nothing.
        """

    def describe_only(self, instance_ids: Sequence[InstanceId]) -> Sequence[Vm]:
        """Those of the given VMs that EC2 shows, read again; terminated ones too, for an hour or so.

        Raises:
            RetryError: the answer is not whole; it proves nothing.
        """

    def impaired(self) -> frozenset[InstanceId]:
        """Running instances that fail EC2's status checks, of the whole account.

        Raises:
            RetryError: the answer is not whole.
        """

    def console_output(self, instance_id: InstanceId) -> str:
        """What the VM wrote to its console, as far as EC2 has it; empty when it has nothing. Untrusted."""

    def terminate(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, AgentStackError]:
        """Terminate them. The answer holds the ones whose termination was not accepted, and why."""


class Ledger(Protocol):
    """The record of runs and intents. The only memory that outlives an invocation."""

    def active_runs(self) -> Sequence[Run]:
        """Every run that has not ended. Consistent."""

    def bound_instances(self) -> frozenset[InstanceId]:
        """The VMs of all active runs, even of those that this version of the code cannot read. Consistent."""

    def earlier(self, job_ids: Sequence[JobId]) -> Mapping[JobId, Earlier]:
        """What earlier runs of these jobs used up; jobs without any are left out."""

    def record(self, runs: Sequence[Run]) -> Sequence[Run]:
        """Write first versions, each only if its job has no active run. The answer holds those that won."""

    def update(self, runs: Sequence[Run]) -> Sequence[Run]:
        """Write next versions, each only on top of its predecessor. The answer holds those that won."""

    def end(self, runs: Sequence[Run]) -> Sequence[Run]:
        """Move ended runs into history, each only on top of its predecessor. The answer holds those that won."""

    def bind(self, pairs: Sequence[tuple[Run, Letter]]) -> Sequence[Run]:
        """Bind runs to VMs: run and mailbox change together or not at all; a conflict costs only its own pair."""

    def open_intents(self) -> Sequence[Intent]:
        """Intents whose VMs are not all accounted for."""

    def write_intent(self, intent: Intent, *, fence: int) -> None:
        """Write a new intent, if the dispatcher's lease still carries that fencing number.

        Raises:
            GiveUpError: another dispatcher took over.
        """

    def spend_intent(self, intent: Intent) -> None:
        """Record EC2's answer: the token is spent, and these VMs came of it."""

    def close_intent(self, intent_id: IntentId) -> None:
        """Nothing more will come of it."""

    def launch_memory(self) -> LaunchMemory:
        """What EC2 taught earlier runs of the dispatcher; empty when nothing is known."""

    def remember_launches(self, memory: LaunchMemory) -> None:
        """Keep it. The last writer's stands: losing some of it costs a lesson."""

    def list_waiting(self, waiting: WaitingList) -> None:
        """Leave the list of who waits, in place of the one before. The dispatcher's to write."""

    def waiting(self) -> WaitingList | None:
        """The latest list; None when there was none yet."""

    def mark_told(self, waiting: Sequence[Waiting]) -> Sequence[Waiting]:
        """Mark that these jobs are told these reasons. The answer holds those that were not, and may be told now.

        Each job and reason once, and at most `MAX_NOTICES_OF_A_JOB` reasons a job.
        """


class Mailbox(Protocol):
    """The VMs' mailboxes, from our side. They are filled by `Ledger.bind` only."""

    def read(self, arns: Sequence[InstanceArn]) -> Mapping[InstanceArn, Mail]:
        """What the mailboxes show now; missing ones are left out. Consistent."""

    def renew(self, arn: InstanceArn, credential: str) -> bool:
        """Put a fresh credential in place of one that nobody took yet. False when it was taken."""

    def reissue(self, arn: InstanceArn, credential: str) -> bool:
        """Put another credential in for a VM that lost the one it took, by its own word; False when that is not so.

        At most three times for a VM; never once we hold the baton.
        """

    def take_baton(self, arn: InstanceArn) -> bool:
        """Take the credential back. True when we hold the baton now, or did before; False when the VM does."""


class Programs(Protocol):
    """The second stages of the boot program, where VMs find them by their hash."""

    def publish(self, program: VmProgram) -> None:
        """Put it there, and make it the current one; the one before is superseded from now on. Idempotent."""

    def published(self) -> Sequence[PublishedProgram]:
        """All that are there. Consistent."""

    def remove(self, sha256: str) -> None:
        """Take one away. One that is not there is no error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A lease in hand: its fencing number, the wake-ups seen, and who waits to follow."""

    holder: str
    fence: int
    wakes: int
    expires_at: datetime
    successor: str | None = None


class Lease(Protocol):
    """At most one working invocation per function."""

    def acquire(self, holder: str, *, now: datetime, ttl: timedelta) -> Held | None:
        """Take the lease if it is free or run out; None when somebody works."""

    def knock(self, holder: str, *, follow: bool) -> None:
        """Tell whoever works that there is news; with `follow`, that we wait to take over."""

    def renew(self, held: Held, *, now: datetime, ttl: timedelta) -> Held | None:
        """The lease for longer, with the wake-ups so far; None when it was lost."""

    def release(self, held: Held) -> bool:
        """Let go, unless there was a wake-up since `held`; False means: go round again."""


class ClassSource(Protocol):
    """Where the operator's classes come from."""

    def book(self) -> ClassBook:
        """The classes as they are now; cached for a short while.

        Raises:
            ConfigurationError: the document is wrong; names it, the field and the remedy.
        """


class Secrets(Protocol):
    """Where the agent token comes from."""

    def agent_token(self, *, fresh: bool = False) -> str:
        """The token; read anew when `fresh`."""


class Clock(Protocol):
    """Time. The only place it comes from."""

    def now(self) -> datetime:
        """Aware UTC."""

    def sleep(self, duration: timedelta) -> None:
        """Let that much time pass."""


class Task(Protocol[ResultT_co]):
    """Something that a worker does."""

    def done(self) -> bool:
        """Whether it has ended, one way or the other."""

    def result(self) -> ResultT_co:
        """What came of it; raises what it raised. Only once it is done."""


class Workers(Protocol):
    """A few hands beside the tick. What they hold ends with the process."""

    def submit(self, task: Callable[[], ResultT]) -> Task[ResultT]:
        """Begin it soon."""

    def wait(self, tasks: Sequence[Task[Any]], at_most: timedelta) -> None:
        """Until all of them are done, or that time is over."""


class Deadline(Protocol):
    """The end of this invocation. No effect may be begun that could outlast it."""

    def left(self) -> timedelta:
        """How much time is left; never negative."""


class Ids(Protocol):
    """Identity and chance. The only place they come from."""

    def holder(self) -> str:
        """A name for this invocation, which no other has."""

    def intent_id(self) -> IntentId:
        """A new launch id: unique, at most 64 ASCII characters."""

    def fraction(self) -> float:
        """A number in [0, 1), for jitter."""


Field = str | int | float | bool | None


class Telemetry(Protocol):
    """Logs and metrics. Never given a credential."""

    def info(self, message: str, **fields: Field) -> None:
        """Something happened that a person may look for."""

    def warning(self, message: str, **fields: Field) -> None:
        """Something failed, and we go on."""

    def error(self, message: str, **fields: Field) -> None:
        """Something failed that an operator must know of."""

    def carry(self, **fields: Field) -> None:
        """Every line from now on has these fields, too."""

    def count(self, metric: Metric, value: int = 1, *, of: StrEnum | None = None) -> None:
        """Add to a counter.

        Args:
            of: which of the metric's parts, where `measures.SPLIT` names them.
        """

    def level(self, metric: Metric, value: float, *, of: StrEnum | None = None) -> None:
        """How much there is now. The last of an invocation is what is written."""

    def peak(self, metric: Metric, value: float, *, of: StrEnum | None = None) -> None:
        """How much there is now. The highest of an invocation is what is written."""

    def seconds(self, metric: Metric, value: float, *, of: StrEnum | None = None) -> None:
        """One duration."""
