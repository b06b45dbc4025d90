"""The API's published limits. Source: rate-limit and payload sections of Buildkite's public Stacks API docs."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum

MAX_IDS = 1000  # ids, notifications or jobs in one request
MAX_DETAIL_BYTES = 4096  # of a finish
MAX_NOTICE_CHARACTERS = 255  # the smaller of both dialects' limits
MAX_RESERVATION = timedelta(hours=1)
MIN_TOKEN_LIFETIME = timedelta(seconds=1)
MAX_TOKEN_LIFETIME = timedelta(hours=1)


class Names(StrEnum):
    """What the path of an endpoint names, and a 404 of it is about. The wording of a message proves nothing."""

    STACK = "stack"
    STACK_AND_QUEUE = "stack and queue"
    STACK_AND_JOB = "stack and job"
    NOTHING = "nothing"  # no stack is in it: a 404 says that the service has no such endpoint, or no such queue


class Safety(StrEnum):
    """What a repeat of a request does when the first may have arrived."""

    LAST_ANSWER_COUNTS = "last answer counts"  # nothing, and the last answer tells how things stand: every read
    IDEMPOTENT = "idempotent"  # nothing
    ONCE = "once"  # harm


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One endpoint: its name, its requests a second, and whether and how often it may be repeated.

    Attributes:
        tries: with one try the client does not wait for the endpoint's rate either.
        timeout: of one try, in all: a server that drips bytes cannot hold a cycle for longer.
    """

    name: str
    per_second: int
    safety: Safety = Safety.IDEMPOTENT
    tries: int = 4
    timeout: timedelta = timedelta(seconds=15)
    names: Names = Names.STACK
    scope: str = field(default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "scope", self.scope or self.name)


REGISTER = Operation(name="register", per_second=10, names=Names.NOTHING)
DEREGISTER = Operation(name="deregister", per_second=10, safety=Safety.LAST_ANSWER_COUNTS)
LIST = Operation(name="list_scheduled", per_second=10, safety=Safety.LAST_ANSWER_COUNTS, names=Names.STACK_AND_QUEUE)
RESERVE = Operation(name="reserve", per_second=10)
JOB = Operation(name="job_details", per_second=1000, safety=Safety.LAST_ANSWER_COUNTS, names=Names.STACK_AND_JOB)
STATES = Operation(name="job_states", per_second=20, safety=Safety.LAST_ANSWER_COUNTS)
TOKENS = Operation(name="issue_tokens", per_second=10)
IDENTITY = Operation(name="token_identity", per_second=10, safety=Safety.LAST_ANSWER_COUNTS, names=Names.NOTHING)
FINISH = Operation(name="finish", per_second=100, safety=Safety.ONCE, names=Names.STACK_AND_JOB)
NOTIFY = Operation(name="notify", per_second=200, safety=Safety.ONCE, tries=1, timeout=timedelta(seconds=2))
"""One short try: a person reads it, and everything else is more urgent."""

NOTIFY_ONE = Operation(
    name="notify_one",
    per_second=200,
    safety=Safety.ONCE,
    tries=1,
    timeout=timedelta(seconds=2),
    names=Names.STACK_AND_JOB,
    scope="notify",
)


def briefly(operation: Operation, left: timedelta) -> Operation:
    """That endpoint with one try, which ends within the time that is left."""
    return replace(operation, tries=1, timeout=left)
