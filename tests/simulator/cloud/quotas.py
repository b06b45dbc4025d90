"""vCPU quotas: a ceiling for each family group and capacity type, and what stands under it.

Source: the EC2 user guide, “Amazon EC2 instance type quotas”: quotas count the vCPUs of running instances, one quota
for each group of families, on-demand and spot apart.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.simulator.cloud.catalogue import catalogue
from tests.simulator.cloud.instance import UP, Instance

BUCKETS: Mapping[str, tuple[str, ...]] = {
    "standard": ("a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z"),
    "g-vt": ("g", "gr", "vt"),
    "p": ("p",),
    "dl": ("dl",),
    "trn": ("trn",),
    "inf": ("inf",),
    "f": ("f",),
    "x": ("x",),
    "high-memory": ("u",),
    "hpc": ("hpc",),
    "mac": ("mac",),
}
"""Family groups by what their families' names begin with."""

_BUCKET_OF = {assignments: bucket for bucket, families in BUCKETS.items() for assignments in families}


def bucket_of(instance_type: str) -> str:
    """The family group of a type, such as `standard`.

    Raises:
        KeyError: there is no such type.
    """
    return _BUCKET_OF[catalogue()[instance_type].assignments]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Something else in the account that holds vCPUs of a bucket for a time, once or again and again.

    Attributes:
        bucket: such as `on-demand:standard`.
        starts: when, from the beginning of the simulation.
        lasts: how long it holds them; None for ever.
        every: from one start to the next; None for once.
    """

    bucket: str
    vcpus: int
    starts: timedelta = timedelta()
    lasts: timedelta | None = None
    every: timedelta | None = None

    def held(self, elapsed: timedelta) -> int:
        """The vCPUs that it holds then."""
        since = elapsed - self.starts
        if since < timedelta():
            return 0
        if self.every is not None:
            since %= self.every
        return self.vcpus if self.lasts is None or since < self.lasts else 0


@dataclass(kw_only=True)
class Quotas:
    """The ceilings of one account and region. A test may change them at any time.

    Attributes:
        ceilings: vCPUs by bucket, such as `on-demand:standard`; a bucket without one is not limited.
        occupied: vCPUs by bucket that other workloads hold now, beside those that follow a schedule.
    """

    began_at: datetime
    ceilings: dict[str, int]
    workloads: tuple[Workload, ...] = ()
    occupied: dict[str, int] = field(default_factory=dict)

    def used(self, bucket: str, instances: Iterable[Instance], now: datetime) -> int:
        """The vCPUs that are taken: by pending and running instances, and by other workloads."""
        ours = sum(
            catalogue()[instance.instance_type].vcpus
            for instance in instances
            if instance.state in UP and f"{instance.capacity_type}:{bucket_of(instance.instance_type)}" == bucket
        )
        others = sum(workload.held(now - self.began_at) for workload in self.workloads if workload.bucket == bucket)
        return ours + others + self.occupied.get(bucket, 0)

    def room(self, capacity_type: str, instance_type: str, instances: Iterable[Instance], now: datetime) -> int | None:
        """How many more instances of a type fit under its ceiling; None without one."""
        if not self.ceilings:
            return None
        bucket = f"{capacity_type}:{bucket_of(instance_type)}"
        if bucket not in self.ceilings:
            return None
        left = self.ceilings[bucket] - self.used(bucket, instances, now)
        return max(0, left // catalogue()[instance_type].vcpus)
