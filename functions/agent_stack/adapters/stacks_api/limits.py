"""The API's published limits. Source: rate-limit and payload sections of Buildkite's public Stacks API docs."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

MAX_IDS = 1000  # ids, notifications or jobs in one request
MAX_DETAIL_BYTES = 4096  # of a finish
MAX_NOTICE_CHARACTERS = 255  # the smaller of both dialects' limits
MAX_RESERVATION = timedelta(hours=1)
MIN_TOKEN_LIFETIME = timedelta(seconds=1)
MAX_TOKEN_LIFETIME = timedelta(hours=1)


class Safety(StrEnum):
    """What a repeat of a request does when the first may have arrived."""

    LAST_ANSWER_COUNTS = "last answer counts"  # nothing, and the last answer tells how things stand: every read
    IDEMPOTENT = "idempotent"  # nothing
    VISIBLE = "visible"  # a person reads it twice: once is bearable
    ONCE = "once"  # harm


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One endpoint: its name, its requests a second, and whether it may be repeated."""

    name: str
    per_second: int
    safety: Safety = Safety.IDEMPOTENT
    scope: str = field(default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "scope", self.scope or self.name)


REGISTER = Operation(name="register", per_second=10)
DEREGISTER = Operation(name="deregister", per_second=10, safety=Safety.LAST_ANSWER_COUNTS)
LIST = Operation(name="list_scheduled", per_second=10, safety=Safety.LAST_ANSWER_COUNTS)
RESERVE = Operation(name="reserve", per_second=10)
JOB = Operation(name="job_details", per_second=1000, safety=Safety.LAST_ANSWER_COUNTS)
STATES = Operation(name="job_states", per_second=20, safety=Safety.LAST_ANSWER_COUNTS)
TOKENS = Operation(name="issue_tokens", per_second=10)
IDENTITY = Operation(name="token_identity", per_second=10, safety=Safety.LAST_ANSWER_COUNTS)
FINISH = Operation(name="finish", per_second=100, safety=Safety.ONCE)
NOTIFY = Operation(name="notify", per_second=200, safety=Safety.VISIBLE)
