"""EC2's error codes: what each is about, and what the dispatcher does about it. This is the one table of them.

A row is about one code, or all codes with one beginning (`InvalidAMIID.*`), in one place: inside an answer beside the
instance type and subnet that it is about (placed), or about the whole request. docs/reference/ec2-codes.md has
the table.
"""

from dataclasses import dataclass
from enum import StrEnum

from agent_stack.domain.launching import LaunchErrorClass

REFERENCE = "the error code reference of the EC2 API"
SEEN = "seen in CreateFleet's answers; public issue trackers"
QUOTAS_PAGE = "the EC2 user guide, “Amazon EC2 instance type quotas”"
MODEL = "the SDK's model of EC2"
NOT_LISTED = "no source: the code is in no document"

MISMATCH = "IdempotentParameterMismatch"
"""The client token was used before, with a request that EC2 takes for another one: a fleet of that token exists."""


class Scope(StrEnum):
    """What a refusal is about."""

    POOL = "pool"
    SUBNET = "subnet"
    QUOTA = "quota"
    CLASS = "class"
    ACCOUNT = "account"
    REQUEST = "request"
    UNKNOWN = "unknown"


class Effect(StrEnum):
    """What the dispatcher does, in the words of the runbook."""

    POOL_UNAVAILABLE = "the pool is unavailable for 3 minutes; other pools are asked"
    ZONE_UNAVAILABLE = "the subnet's zone is unavailable for 3 minutes; other zones are asked"
    CEILING = "the quota is a ceiling: smaller requests, then new ones as VMs end"
    TYPE_REFUSED = "the class does without that type for 3 minutes; its breaker opens when all of its types are refused"
    CLASS_REFUSED = "the class's breaker opens; other classes go on"
    ACCOUNT_REFUSED = "all launches pause, for longer each time"
    ACCOUNT_SUSPECTED = (
        "the class backs off; the account's alarm rings when every class that asks gets it and none a VM"
    )
    THROTTLED = "the same request again, then all launches pause for a moment"
    SERVER_ERROR = "the same request again with the same token, then the class backs off; what came of it is settled"
    BACK_OFF = "the class backs off for this capacity type, and falls back to on-demand if it may"
    POOL_REFUSED = "the class does without that pool for 30 seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row.

    Attributes:
        code: EC2's; `X*` stands for every code that begins with X.
        placed: whether the answer names the type and subnet that it is about.
        words: a part of the message that the row depends on; empty for any.
        authorisation: IAM says no. Within minutes of a new role that may pass by itself.
    """

    code: str
    placed: bool
    scope: Scope
    effect: Effect
    error_class: LaunchErrorClass
    source: str
    words: str = ""
    authorisation: bool = False

    def fits(self, code: str, message: str, *, placed: bool) -> bool:
        """Whether it is about that error."""
        named = code.startswith(self.code[:-1]) if self.code.endswith("*") else code == self.code
        return named and placed is self.placed and self.words in message


def _either(
    codes: tuple[str, ...],
    scope: Scope,
    effect: Effect,
    error_class: LaunchErrorClass,
    source: str = REFERENCE,
    *,
    whole: tuple[Scope, Effect] | None = None,
    words: str = "",
    authorisation: bool = False,
) -> tuple[Row, ...]:
    """Two rows for each code: placed, and about the whole request, which may be of another scope and effect."""
    return tuple(
        Row(
            code=code,
            placed=placed,
            scope=scope if placed or whole is None else whole[0],
            effect=effect if placed or whole is None else whole[1],
            error_class=error_class,
            source=source,
            words=words,
            authorisation=authorisation,
        )
        for code in codes
        for placed in (True, False)
    )


_WHOLE_BACKS_OFF = (Scope.REQUEST, Effect.BACK_OFF)
_WHOLE_IS_THE_CLASS = (Scope.CLASS, Effect.CLASS_REFUSED)

ROWS = (
    *_either(
        (
            "InsufficientInstanceCapacity",
            "InsufficientHostCapacity",
            "InsufficientCapacity",
            "InsufficientVolumeCapacity",
            "Unsupported",
            "SpotMaxPriceTooLow",
            "ReservationCapacityExceeded",
        ),
        Scope.POOL,
        Effect.POOL_UNAVAILABLE,
        LaunchErrorClass.CAPACITY,
        whole=_WHOLE_BACKS_OFF,
    ),
    *_either(
        ("UnfulfillableCapacity",),
        Scope.POOL,
        Effect.POOL_UNAVAILABLE,
        LaunchErrorClass.CAPACITY,
        SEEN,
        whole=_WHOLE_BACKS_OFF,
    ),
    *_either(
        ("InvalidFleetConfiguration",),
        Scope.POOL,
        Effect.POOL_UNAVAILABLE,
        LaunchErrorClass.CAPACITY,
        f"{SEEN}: a type that the zone does not have",
        whole=_WHOLE_BACKS_OFF,
        words="Availability Zone",
    ),
    *_either(
        ("InsufficientFreeAddressesInSubnet",),
        Scope.SUBNET,
        Effect.ZONE_UNAVAILABLE,
        LaunchErrorClass.CAPACITY,
        whole=_WHOLE_BACKS_OFF,
    ),
    *_either(
        ("InvalidSubnetID.*", "InvalidSubnet.*"),
        Scope.SUBNET,
        Effect.ZONE_UNAVAILABLE,
        LaunchErrorClass.CONFIGURATION,
    ),
    *_either(("VcpuLimitExceeded",), Scope.QUOTA, Effect.CEILING, LaunchErrorClass.QUOTA, QUOTAS_PAGE),
    *_either(
        ("MaxSpotInstanceCountExceeded", "InstanceLimitExceeded", "SpotInstanceCountLimitExceeded"),
        Scope.QUOTA,
        Effect.CEILING,
        LaunchErrorClass.QUOTA,
    ),
    *_either(
        ("VolumeLimitExceeded",),
        Scope.REQUEST,
        Effect.BACK_OFF,
        LaunchErrorClass.QUOTA,
        f"{REFERENCE}: the account's storage, which VMs that end give back",
    ),
    *_either(
        ("MaxFleetCountExceeded",),
        Scope.ACCOUNT,
        Effect.ACCOUNT_SUSPECTED,
        LaunchErrorClass.QUOTA,
        f"{SEEN}: with no fleet in existence the account's Fleet API is closed",
    ),
    *_either(
        ("PendingVerification", "OptInRequired", "Blocked"),
        Scope.ACCOUNT,
        Effect.ACCOUNT_REFUSED,
        LaunchErrorClass.ACCOUNT,
    ),
    *_either(
        ("UnauthorizedOperation", "AuthFailure", "AuthFailure.*", "AccessDenied*", "OperationNotPermitted"),
        Scope.CLASS,
        Effect.TYPE_REFUSED,
        LaunchErrorClass.CONFIGURATION,
        whole=_WHOLE_IS_THE_CLASS,
        authorisation=True,
    ),
    *_either(
        ("InvalidAMIID.*", "InvalidSnapshot.*", "InvalidUserData.*", "InvalidKeyPair.*", "InvalidGroup.*"),
        Scope.CLASS,
        Effect.CLASS_REFUSED,
        LaunchErrorClass.CONFIGURATION,
    ),
    *_either(
        (
            "InvalidParameter*",
            "InvalidBlockDeviceMapping*",
            "InvalidFleetConfig*",
            "InvalidLaunchTemplate*",
            "InvalidInstanceType*",
            "InvalidKmsKey*",
            "MissingParameter",
            "UnsupportedOperation",
            MISMATCH,
        ),
        Scope.CLASS,
        Effect.TYPE_REFUSED,
        LaunchErrorClass.CONFIGURATION,
        whole=_WHOLE_IS_THE_CLASS,
    ),
    *_either(("RequestLimitExceeded", "Throttling"), Scope.REQUEST, Effect.THROTTLED, LaunchErrorClass.THROTTLE),
    *_either(
        ("ThrottlingException", "TooManyRequestsException"),
        Scope.REQUEST,
        Effect.THROTTLED,
        LaunchErrorClass.THROTTLE,
        MODEL,
    ),
    *_either(
        ("InternalError", "InternalFailure", "ServerInternal", "ServiceUnavailable", "Unavailable", "RequestTimeout"),
        Scope.REQUEST,
        Effect.POOL_REFUSED,
        LaunchErrorClass.THROTTLE,
        whole=(Scope.REQUEST, Effect.SERVER_ERROR),
    ),
)
UNLISTED = {
    placed: Row(
        code="*",
        placed=placed,
        scope=Scope.UNKNOWN,
        effect=Effect.POOL_REFUSED,
        error_class=LaunchErrorClass.UNRECOGNISED,
        source=NOT_LISTED,
    )
    for placed in (True, False)
}


def row_for(code: str, message: str = "", *, placed: bool) -> Row:
    """The row about an error; that of unlisted codes when there is none.

    A row that depends on words comes before one that does not, an exact code before a beginning.
    """
    fitting = [row for row in ROWS if row.fits(code, message, placed=placed)]
    return max(
        fitting, key=lambda row: (bool(row.words), not row.code.endswith("*"), len(row.code)), default=UNLISTED[placed]
    )


def codes(effect: Effect) -> frozenset[str]:
    """The codes of whole requests that have that effect."""
    return frozenset(row.code for row in ROWS if row.effect is effect and not row.placed)
