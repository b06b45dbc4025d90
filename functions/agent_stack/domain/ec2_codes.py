"""EC2's error codes: what each is about, and what the dispatcher does about it. This is the one table of them.

A row is about one code, or all codes with one beginning (`InvalidAMIID.*`), in one place: inside an answer beside the
instance type and subnet that it is about (placed), or about the whole request. docs/operations.md shows the table.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from agent_stack.domain.launching import LaunchErrorClass

REFERENCE = "the error code reference of the EC2 API"
SEEN = "seen in CreateFleet's answers; public issue trackers"
QUOTAS_PAGE = "the EC2 user guide, “Amazon EC2 instance type quotas”"
MODEL = "the SDK's model of EC2"
NOT_LISTED = "no source: the code is in no document"


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


def _rows() -> Iterator[Row]:  # noqa: C901  (a table)
    both = (True, False)
    for code in (
        "InsufficientInstanceCapacity",
        "InsufficientHostCapacity",
        "InsufficientCapacity",
        "InsufficientVolumeCapacity",
        "UnfulfillableCapacity",
        "Unsupported",
        "SpotMaxPriceTooLow",
        "ReservationCapacityExceeded",
    ):
        source = SEEN if code == "UnfulfillableCapacity" else REFERENCE
        yield Row(
            code=code,
            placed=True,
            scope=Scope.POOL,
            effect=Effect.POOL_UNAVAILABLE,
            error_class=LaunchErrorClass.CAPACITY,
            source=source,
        )
        yield Row(
            code=code,
            placed=False,
            scope=Scope.REQUEST,
            effect=Effect.BACK_OFF,
            error_class=LaunchErrorClass.CAPACITY,
            source=source,
        )
    for placed in both:
        yield Row(
            code="InvalidFleetConfiguration",
            placed=placed,
            scope=Scope.POOL if placed else Scope.REQUEST,
            effect=Effect.POOL_UNAVAILABLE if placed else Effect.BACK_OFF,
            error_class=LaunchErrorClass.CAPACITY,
            source=f"{SEEN}: a type that the zone does not have",
            words="Availability Zone",
        )
    for code in ("InsufficientFreeAddressesInSubnet", "InvalidSubnetID.*", "InvalidSubnet.*"):
        gone = code != "InsufficientFreeAddressesInSubnet"
        for placed in both:
            yield Row(
                code=code,
                placed=placed,
                scope=Scope.SUBNET if placed or gone else Scope.REQUEST,
                effect=Effect.ZONE_UNAVAILABLE if placed or gone else Effect.BACK_OFF,
                error_class=LaunchErrorClass.CONFIGURATION if gone else LaunchErrorClass.CAPACITY,
                source=REFERENCE,
            )
    for code in (
        "VcpuLimitExceeded",
        "MaxSpotInstanceCountExceeded",
        "InstanceLimitExceeded",
        "SpotInstanceCountLimitExceeded",
    ):
        for placed in both:
            yield Row(
                code=code,
                placed=placed,
                scope=Scope.QUOTA,
                effect=Effect.CEILING,
                error_class=LaunchErrorClass.QUOTA,
                source=QUOTAS_PAGE if code == "VcpuLimitExceeded" else REFERENCE,
            )
    for placed in both:
        yield Row(
            code="VolumeLimitExceeded",
            placed=placed,
            scope=Scope.REQUEST,
            effect=Effect.BACK_OFF,
            error_class=LaunchErrorClass.QUOTA,
            source=f"{REFERENCE}: the account's storage, which VMs that end give back",
        )
        yield Row(
            code="MaxFleetCountExceeded",
            placed=placed,
            scope=Scope.ACCOUNT,
            effect=Effect.ACCOUNT_SUSPECTED,
            error_class=LaunchErrorClass.QUOTA,
            source=f"{SEEN}: with no fleet in existence the account's Fleet API is closed",
        )
    for code in ("PendingVerification", "OptInRequired", "Blocked"):
        for placed in both:
            yield Row(
                code=code,
                placed=placed,
                scope=Scope.ACCOUNT,
                effect=Effect.ACCOUNT_REFUSED,
                error_class=LaunchErrorClass.ACCOUNT,
                source=REFERENCE,
            )
    for code in ("UnauthorizedOperation", "AuthFailure", "AuthFailure.*", "AccessDenied*", "OperationNotPermitted"):
        for placed in both:
            yield Row(
                code=code,
                placed=placed,
                scope=Scope.CLASS,
                effect=Effect.TYPE_REFUSED if placed else Effect.CLASS_REFUSED,
                error_class=LaunchErrorClass.CONFIGURATION,
                source=REFERENCE,
                authorisation=True,
            )
    for code in ("InvalidAMIID.*", "InvalidSnapshot.*", "InvalidUserData.*", "InvalidKeyPair.*", "InvalidGroup.*"):
        for placed in both:
            yield Row(
                code=code,
                placed=placed,
                scope=Scope.CLASS,
                effect=Effect.CLASS_REFUSED,
                error_class=LaunchErrorClass.CONFIGURATION,
                source=REFERENCE,
            )
    for code in (
        "InvalidParameter*",
        "InvalidBlockDeviceMapping*",
        "InvalidFleetConfig*",
        "InvalidLaunchTemplate*",
        "InvalidInstanceType*",
        "InvalidKmsKey*",
        "MissingParameter",
        "UnsupportedOperation",
        "IdempotentParameterMismatch",
    ):
        for placed in both:
            yield Row(
                code=code,
                placed=placed,
                scope=Scope.CLASS,
                effect=Effect.TYPE_REFUSED if placed else Effect.CLASS_REFUSED,
                error_class=LaunchErrorClass.CONFIGURATION,
                source=REFERENCE,
            )
    for code in ("RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException"):
        for placed in both:
            yield Row(
                code=code,
                placed=placed,
                scope=Scope.REQUEST,
                effect=Effect.THROTTLED,
                error_class=LaunchErrorClass.THROTTLE,
                source=MODEL if "Exception" in code else REFERENCE,
            )
    for code in (
        "InternalError",
        "InternalFailure",
        "ServerInternal",
        "ServiceUnavailable",
        "Unavailable",
        "RequestTimeout",
    ):
        for placed in both:
            yield Row(
                code=code,
                placed=placed,
                scope=Scope.REQUEST,
                effect=Effect.POOL_REFUSED if placed else Effect.SERVER_ERROR,
                error_class=LaunchErrorClass.THROTTLE,
                source=REFERENCE,
            )


ROWS = tuple(_rows())
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
