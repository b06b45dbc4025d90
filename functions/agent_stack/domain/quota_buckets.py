"""vCPU quotas: which of them an instance type counts against.

AWS counts the vCPUs of running instances by group of families and capacity type, one quota for each.
Source: the EC2 user guide, “Amazon EC2 instance type quotas”, and the names in Service Quotas.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache

from agent_stack.domain.identifiers import Bucket
from agent_stack.domain.states import CapacityType

_STANDARD = ("a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z")
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "standard": _STANDARD,
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
_GROUP_OF = {family: group for group, families in _GROUPS.items() for family in families}
_NAMES = {
    "standard": "Standard (A, C, D, H, I, M, R, T, Z)",
    "g-vt": "G and VT",
    "p": "P",
    "dl": "DL",
    "trn": "Trn",
    "inf": "Inf",
    "f": "F",
    "x": "X",
    "high-memory": "High Memory",
    "hpc": "HPC",
    "mac": "Mac",
}
_FAMILY = re.compile(r"[a-z]+")


@cache
def group_of(instance_type: str) -> str:
    """The family group of a type, such as `standard`; a family that is not known is a group of its own.

    >>> group_of("m7i.large"), group_of("g5.xlarge"), group_of("u-6tb1.metal")
    ('standard', 'g-vt', 'high-memory')
    """
    found = _FAMILY.match(instance_type)
    family = found.group() if found else instance_type.partition(".")[0]
    return _GROUP_OF.get(family, family)


def bucket_of(instance_type: str, capacity_type: CapacityType) -> Bucket:
    """The quota that a type counts against, such as `on-demand:standard`."""
    return Bucket(f"{capacity_type}:{group_of(instance_type)}")


def bucket_of_pool(pool: str) -> Bucket:
    """The same for a pool `capacity_type:type:zone`."""
    capacity_type, instance_type, _ = pool.split(":")
    return bucket_of(instance_type, CapacityType(capacity_type))


def buckets_of(pools: Iterable[str]) -> frozenset[Bucket]:
    """Those of several pools."""
    return frozenset(map(bucket_of_pool, pools))


def quota_name(bucket: Bucket) -> str:
    """What Service Quotas calls it, so that an operator finds what to ask AWS for."""
    capacity_type, _, group = bucket.partition(":")
    families = _NAMES.get(group, group.upper())
    if capacity_type == CapacityType.SPOT:
        return f"All {families} Spot Instance Requests"
    return f"Running On-Demand {families} instances"
