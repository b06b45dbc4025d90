"""Attempts: the VMs that a job has had and lost before an agent took it, and how each was lost.

A run keeps the latest few, so that the next VM comes from elsewhere, spot is not asked for ever, and whoever reads the
end of the story learns what was tried.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.states import CapacityType

MAX_ATTEMPTS_STORED = 2
"""Attempts that a run remembers besides the one that it is in; a run's item stays under one kilobyte."""

ATTEMPT_BYTES = 78
"""What one takes of the room that a run has for texts."""

SPOT_LOSSES_BEFORE_ON_DEMAND = 2

SPOT_REASONS = frozenset({"Server.SpotInstanceTermination", "Server.SpotInstanceShutdown"})
CAPACITY_REASONS = frozenset({"Server.InsufficientInstanceCapacity"})
"""EC2's state reasons for a VM that went because others wanted its place. Source: EC2's state reason codes."""


class FailureKind(StrEnum):
    """How a VM was lost to its job."""

    SPOT = "spot"
    CAPACITY = "capacity"
    EC2 = "ec2"
    BOOT_PROGRAM = "boot"
    AGENT = "agent"
    TIMEOUT = "timeout"
    REVOKED = "taken"


def _means(kind: FailureKind) -> str:  # noqa: PLR0911  (one text for each kind)
    match kind:
        case FailureKind.SPOT:
            return "EC2 interrupted it (spot)"
        case FailureKind.CAPACITY:
            return "EC2 had no room for it in the end"
        case FailureKind.EC2:
            return "EC2 showed that it had ended"
        case FailureKind.BOOT_PROGRAM:
            return "its boot program failed"
        case FailureKind.AGENT:
            return "its agent ended without taking the job"
        case FailureKind.TIMEOUT:
            return "no agent in time"
        case FailureKind.REVOKED:
            return "its credential had to be taken back"


def _is_for_want_of_capacity(kind: FailureKind) -> bool:
    match kind:
        case FailureKind.SPOT | FailureKind.CAPACITY:
            return True
        case FailureKind.EC2 | FailureKind.BOOT_PROGRAM | FailureKind.AGENT | FailureKind.TIMEOUT | FailureKind.REVOKED:
            return False


def failure_kind(reason: str) -> FailureKind:
    """What EC2's state reason of a VM that went means."""
    if reason in SPOT_REASONS:
        return FailureKind.SPOT
    return FailureKind.CAPACITY if reason in CAPACITY_REASONS else FailureKind.EC2


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why no agent will come from a VM, in words for people."""

    kind: FailureKind
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One VM that failed.

    Attributes:
        seconds: from its binding to its failure.
        standby: the VM stood by before it had the job.
    """

    instance_id: InstanceId
    instance_type: str
    zone: str
    capacity_type: CapacityType
    kind: FailureKind
    seconds: int
    standby: bool = False

    @property
    def words(self) -> str:
        """How it failed, for people."""
        return _means(self.kind)

    @property
    def pool(self) -> str:
        """Where it came from, as `Fleet.pools` names it."""
        return f"{self.capacity_type}:{self.instance_type}:{self.zone}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorUsage:
    """What earlier runs of a job used up of its attempts and notices.

    Attributes:
        attempts: VMs that the job had.
        lost_standby: one of them stood by and ended before an agent had the job.
    """

    attempts: int = 0
    notices_sent: int = 0
    lost_standby: bool = False

    @property
    def counted(self) -> int:
        """Attempts that count for MaxLaunchAttempts."""
        return self.attempts - self.lost_standby

    @property
    def words(self) -> str:
        """How many attempts there were, for people."""
        return attempts_words(self.counted, lost_standby=self.lost_standby)


def attempts_words(counted: int, *, lost_standby: bool) -> str:
    """How many attempts there were, for people.

    >>> attempts_words(1, lost_standby=False), attempts_words(2, lost_standby=True)
    ('one attempt', '2 attempts and on a standby VM')
    """
    tries = "one attempt" if counted == 1 else f"{counted} attempts"
    return f"{tries} and on a standby VM" if lost_standby else tries


def spot_losses(tried: Iterable[Attempt]) -> int:
    """How many of them spot has cost."""
    return sum(
        attempt.capacity_type is CapacityType.SPOT and _is_for_want_of_capacity(attempt.kind) for attempt in tried
    )


def excluding_failed_pools(pools: Sequence[str], failed: Iterable[str]) -> tuple[str, ...]:
    """The pools without those where a VM has just failed; all of them when there is no other."""
    avoided = frozenset(failed)
    return tuple(pool for pool in pools if pool not in avoided) or tuple(pools)


def seconds_between(begin: datetime, end: datetime) -> int:
    """Whole seconds; never negative, whatever the clocks say."""
    return max(0, round((end - begin).total_seconds()))
