"""What kind of Buildkite is simulated: which dialect it speaks and which limits it enforces."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Self


class TokenForm(StrEnum):
    """What a job acquisition token looks like. Clients have met both."""

    OPAQUE = "opaque"  # a prefix and 32 characters
    JWT = "jwt"  # three base64url segments, 1,400 characters


class Dialect(StrEnum):
    """The two published shapes of the Stacks API."""

    CURRENT = "current"
    PREVIEW = "preview"


BOTH_DIALECTS = frozenset(Dialect)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """Requests per stack and endpoint in any one second.

    Source: the Stacks API page of the public documentation.
    """

    listing: int = 10
    reserve: int = 10
    get_job: int = 1_000
    get_states: int = 20
    finish: int = 100
    notify: int = 200
    other: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationLimits:
    """How long one notification may be, and how many one job may carry."""

    characters: int
    per_job: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The published limits of the service; lower them to reach an edge with few requests.

    Source: the Stacks API specification and page, and the agent's public source for the intervals.
    """

    rates: RateLimits = RateLimits()
    ids_per_request: int = 1_000
    notifications_per_request: int = 1_000
    listing_limit_default: int = 100
    listing_limit_maximum: int = 1_000
    page_size_cap: int = 1_000
    """A page never holds more jobs than this, whatever the request asks for."""
    stack_quota: int = 100
    """Registered stacks an organisation may have. The real number is not published."""
    stack_key_bytes: int = 80
    metadata_keys: int = 100
    metadata_key_characters: int = 64
    metadata_value_characters: int = 256
    reservation_default: timedelta = timedelta(seconds=900)
    reservation_maximum: timedelta = timedelta(seconds=3_600)
    token_lifetime_default: timedelta = timedelta(seconds=900)
    token_lifetime_maximum: timedelta = timedelta(seconds=3_600)
    oidc_lifetime_default: timedelta = timedelta(seconds=300)
    oidc_lifetime_maximum: timedelta = timedelta(seconds=7_200)
    finish_detail_bytes: int = 4_096
    notifications_current: NotificationLimits = NotificationLimits(characters=256, per_job=100)
    notifications_preview: NotificationLimits = NotificationLimits(characters=255, per_job=50)
    notify_after_finish: timedelta = timedelta(seconds=300)
    queue_disconnected_after: timedelta = timedelta(minutes=5)
    agent_lost_after: timedelta = timedelta(minutes=3)
    scheduled_expires_after: timedelta = timedelta(days=30)
    chunk_bytes: int = 102_400
    jwt_characters: int = 1_400

    def notifications(self, dialect: Dialect) -> NotificationLimits:
        """The notification limits one dialect publishes."""
        return self.notifications_current if dialect is Dialect.CURRENT else self.notifications_preview


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything about the simulated service that a test may choose.

    The fields from `shows_runnable_at` on choose between answers that the real service may give; see `harsh`.
    """

    dialects: frozenset[Dialect] = BOTH_DIALECTS
    limits: Limits = field(default_factory=Limits)
    enforce_rate_limits: bool = True
    organization_slug: str = "simulated"
    cluster_name: str = "Simulated cluster"
    default_queue: str = "default"
    """The queue of steps and agents that name none."""
    default_queue_aliases: frozenset[str] = frozenset({"_default", "__default__"})
    """What a stack may call the default queue besides. No queue of its own has such a key."""
    ping_interval_seconds: int = 1
    job_status_interval_seconds: int = 1
    heartbeat_interval_seconds: int = 60
    chunks_interval_seconds: int = 1
    shows_runnable_at: bool = True
    """A listing of the current dialect has `runnable_at`; the preview's never has."""
    null_lists: bool = False
    """Every list of an answer of the Stacks API is null when empty: `jobs`, `agent_query_rules`, `reserved`,
    `not_reserved`, `job_acquisition_tokens`, `not_issued` and `errors`."""
    null_maps: bool = False
    """`states` and `env` are null when empty."""
    null_priority: bool = False
    """A job whose step names no priority has null in place of 0."""
    token_form: TokenForm = TokenForm.OPAQUE
    not_found_says_what: bool = True
    """The message of a 404 says whether the stack, the queue or the job is unknown."""
    ended_shows_result: bool = False
    """The state look-up calls an ended job `passed` or `failed` in place of `finished`."""
    requires_accept: bool = False
    """A request to the Stacks API that does not name application/json in `Accept` is answered 406, without JSON."""

    @classmethod
    def harsh(cls, **changes: Any) -> Self:  # noqa: ANN401  (the fields' own)
        """A service that gives the answer that is harder for a client wherever it may give either."""
        values: dict[str, Any] = {
            "shows_runnable_at": False,
            "null_lists": True,
            "null_maps": True,
            "null_priority": True,
            "token_form": TokenForm.JWT,
            "not_found_says_what": False,
            "ended_shows_result": True,
            "requires_accept": True,
        }
        return cls(**{**values, **changes})

    def __post_init__(self) -> None:
        """Refuse what would break a real client: an interval of zero makes the agent panic."""
        if not self.dialects:
            raise ValueError("a Buildkite that serves no dialect serves nobody")
        intervals = (
            self.ping_interval_seconds,
            self.job_status_interval_seconds,
            self.heartbeat_interval_seconds,
            self.chunks_interval_seconds,
        )
        if min(intervals) <= 0:
            raise ValueError("every interval answered to an agent must be positive")
