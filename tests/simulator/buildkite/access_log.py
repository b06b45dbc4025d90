"""Who asked for what and what they were told: the facts an end-to-end test may rely on."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tests.simulator.buildkite.rules import Rule


class ActorKind(StrEnum):
    """Which credential a request came with."""

    NOBODY = "nobody"
    AGENT_TOKEN = "agent token"
    ACQUISITION_TOKEN = "job acquisition token"
    AGENT = "agent"
    JOB = "job token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The owner of the credential: never the credential itself.

    `id` is the uuid of an agent token or an agent, or the job id of an acquisition or job token.
    """

    kind: ActorKind = ActorKind.NOBODY
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRecord:
    """One request. `path` is as it came, without the query; `operation` is None for unknown paths.

    `status` is what the model answered; with a `fault` the client may have seen something else.
    `refusal` is the message of an error answer.
    """

    at: datetime
    method: str
    path: str
    query: str
    status: int
    operation: str | None
    actor: Actor
    stack_key: str | None = None
    job_ids: tuple[str, ...] = ()
    refusal: str | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A request that broke a documented rule."""

    at: datetime
    rule: Rule
    method: str
    path: str
    detail: str


class AccessLog:
    """Every request in order, and the rules they broke."""

    def __init__(self) -> None:
        self._records: list[AccessRecord] = []
        self._violations: list[Violation] = []

    @property
    def records(self) -> tuple[AccessRecord, ...]:
        """All requests so far, oldest first."""
        return tuple(self._records)

    @property
    def violations(self) -> tuple[Violation, ...]:
        """All broken rules so far, oldest first."""
        return tuple(self._violations)

    def add(self, record: AccessRecord) -> None:
        """Write one request down."""
        self._records.append(record)

    def add_violation(self, violation: Violation) -> None:
        """Write one broken rule down."""
        self._violations.append(violation)
