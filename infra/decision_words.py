"""The words of the decision tables: the values of each column, and the names of those that decide alike."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from agent_stack.domain.situations import FINISH_SETTLES_AFTER
from agent_stack.domain.states import BootStage, CredentialHolder, JobState, VmState


class Forgotten(Enum):
    """Several complete answers of Buildkite in a row did not say where the job stands."""

    UNNAMED = "not named"
    UNHEARD = "in a state of the future"
    INERT = "in a state that no job of a stack has"


class Unseen(Enum):
    """EC2 shows no state of the VM."""

    NOT_DESCRIBED = "EC2 did not answer in full"
    MISSING = "EC2 answered in full and did not show it"


class Boot(Enum):
    """How long ago the VM was bound."""

    IN_TIME = "in time"
    LATE = "late"
    TWICE_LATE = "twice late"
    PAST_LIFETIME = "past its lifetime"


class Hold(Enum):
    """What is left of the reservation."""

    OVER_HALF = "over half"
    UNDER_HALF = "under half"
    LOST = "lost"


class Tries(Enum):
    """Whether another VM may be tried."""

    LEFT = "attempts left"
    LAST = "last attempt"


class Over(Enum):
    """How long the job has been over, or cancelling, while its VM is up."""

    JUST_SEEN = "just seen"
    WITHIN_GRACE = "within its grace"
    PAST_GRACE = "past its grace"


class Asked(Enum):
    """How long ago Buildkite was asked to finish the job."""

    JUST = f"under {FINISH_SETTLES_AFTER.seconds} s ago"
    BEFORE = "earlier"


@dataclass(frozen=True, slots=True)
class Cases:
    """Values of one column, and what the page calls them."""

    name: str
    values: frozenset[Any]

    def __or__(self, other: "Cases") -> "Cases":
        return Cases(f"{self.name} or {other.name}", self.values | other.values)


def one(value: Boot | Hold | Tries | Over | Asked) -> Cases:
    """A value that names itself."""
    return Cases(value.value, frozenset({value}))


RESERVED = Cases("reserved", frozenset({JobState.RESERVED}))
SCHEDULED = Cases("scheduled", frozenset({JobState.SCHEDULED}))
AGENT = Cases(
    "with an agent",
    frozenset({JobState.ASSIGNED, JobState.ACCEPTED, JobState.RUNNING, JobState.TIMING_OUT}),
)
CANCELING = Cases("canceling", frozenset({JobState.CANCELING}))
CANCELED = Cases("canceled", frozenset({JobState.CANCELED}))
NEVER_RAN = Cases("over without a run", frozenset({JobState.EXPIRED, JobState.SKIPPED, JobState.BROKEN}))
RAN = Cases("over", frozenset({JobState.FINISHED, JobState.PASSED, JobState.FAILED, JobState.TIMED_OUT}))
WAITS = RESERVED | SCHEDULED
OVER = CANCELED | NEVER_RAN | RAN
MOVED_ON = Cases("moved on", AGENT.values | CANCELING.values | OVER.values)
JOBS = frozenset({None, *JobState, *Forgotten})
FORGOTTEN = Cases("forgotten", frozenset(Forgotten))
NOT_KNOWN = Cases("not known", JOBS - WAITS.values - MOVED_ON.values - FORGOTTEN.values)
NOT_NAMED = FORGOTTEN | NOT_KNOWN

UP = Cases("up", frozenset({VmState.PENDING, VmState.RUNNING}))
GOING = Cases("going", frozenset({VmState.SHUTTING_DOWN, VmState.STOPPING}))
GONE = Cases("gone", frozenset({VmState.STOPPED, VmState.TERMINATED}))
HIDDEN = Cases("not shown yet", frozenset({Unseen.NOT_DESCRIBED, VmState.UNRECOGNISED}))
MISSING = Cases("missing", frozenset({Unseen.MISSING}))
UNSEEN = HIDDEN | MISSING
VMS = frozenset({*VmState, *Unseen})

REPORTS = frozenset({None, *BootStage})
NO_AGENT = Cases("no agent will come", frozenset({BootStage.FAILED, BootStage.AGENT_EXITED}))
LOST_CREDENTIAL = Cases("credential lost", frozenset({BootStage.CREDENTIAL_LOST}))
NO_FAILURE = Cases("no failure", REPORTS - NO_AGENT.values)

VM = Cases("the VM", frozenset({CredentialHolder.VM}))
TRACKER = Cases("the tracker", frozenset({CredentialHolder.TRACKER}))
UNTAKEN = Cases("the mailbox", frozenset({CredentialHolder.MAILBOX})) | Cases(
    "not read", frozenset({CredentialHolder.UNKNOWN})
)

GIVEN_UP = Cases("launch failed", frozenset({True}))
