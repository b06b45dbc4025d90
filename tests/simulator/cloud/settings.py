"""What kind of EC2 is simulated: how long things take, what there is, and what is allowed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """One subnet."""

    zone: str
    free_addresses: int = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchTemplateData:
    """What a launch template gives every instance."""

    user_data: bytes = b""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A token bucket as EC2 publishes it."""

    burst: float
    refill_per_second: float


REQUEST_BUDGETS: Mapping[str, Budget] = {
    "CreateFleet": Budget(burst=50, refill_per_second=5),
    "RunInstances": Budget(burst=5, refill_per_second=2),
    "TerminateInstances": Budget(burst=100, refill_per_second=5),
    "CreateTags": Budget(burst=100, refill_per_second=10),
}
READ_BUDGET = Budget(burst=100, refill_per_second=20)
LAUNCHES = Budget(burst=1_000, refill_per_second=2)
TERMINATIONS = Budget(burst=1_000, refill_per_second=20)
"""Instances, whatever the request that names them."""
"""Source: the request throttling page of the EC2 developer guide, account and region defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything about the simulated EC2 that a test may choose.

    Attributes:
        pending: the shortest and longest time from launch to `running`.
        pending_of: the same for single instance types.
        shutting_down: from the request to `terminated`.
        describe_lag: how long a fresh instance is missing from answers.
        terminated_shown: how long a terminated one stays in them.
        capacity: free instances by pool `capacity_type:type:zone`; a pool that is not named has plenty.
        quotas: most instances at once by market.
        catalogue: what types there are, each with its architecture, vCPUs and memory in MiB.
        unknown_images: images no launch finds.
        locked_images: images whose key the launch may not use; what is launched from one never runs.
    """

    subnets: Mapping[str, Subnet]
    pending: tuple[timedelta, timedelta] = (timedelta(seconds=5), timedelta(seconds=19))
    pending_of: Mapping[str, timedelta] = field(default_factory=dict)
    shutting_down: timedelta = timedelta(seconds=30)
    describe_lag: timedelta = timedelta()
    terminated_shown: timedelta = timedelta(hours=1)
    spot_notice: timedelta = timedelta(minutes=2)
    capacity: Mapping[str, int] = field(default_factory=dict)
    quotas: Mapping[str, int] = field(default_factory=dict)
    unknown_images: frozenset[str] = frozenset()
    locked_images: frozenset[str] = frozenset()
    catalogue: Mapping[str, tuple[str, int, int]] = field(
        default_factory=lambda: {
            "m7i.large": ("x86_64", 2, 8192),
            "m7a.large": ("x86_64", 2, 8192),
            "c7i.xlarge": ("x86_64", 4, 8192),
            "m7i.4xlarge": ("x86_64", 16, 65536),
            "m7g.large": ("arm64", 2, 8192),
            "c7g.large": ("arm64", 2, 4096),
        }
    )
    throttled: bool = True
