"""Rules over several members of a class: which volumes EC2 makes, and what is about spot VMs only."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

VolumeType = Literal["gp3", "gp2", "io1", "io2"]
"""What a root volume may be; EC2 boots from no st1 and sc1."""

IOPS: Mapping[str, tuple[int, int]] = {"gp3": (3_000, 80_000), "io1": (100, 64_000), "io2": (100, 256_000)}
MIN_GIB: Mapping[str, int] = {"gp3": 1, "gp2": 1, "io1": 4, "io2": 4}
MAX_GIB: Mapping[str, int] = {"gp3": 65_536, "gp2": 16_384, "io1": 16_384, "io2": 65_536}
"""Source: EC2's API reference of FleetEbsBlockDeviceRequest. EC2 judges what depends on the size or on the region."""

MIN_THROUGHPUT, MAX_THROUGHPUT = 125, 2_000
MIN_SPOT_PRICE = Decimal("0.001")  # USD an hour; source: EC2's API reference, MaxPrice of a launch template override

UNSAID: VolumeType = "gp3"
"""What a volume is whose size, IOPS or throughput is stated, and not its type."""


def volume_problem(kind: VolumeType | None, gib: int | None, iops: int | None, throughput: int | None) -> str | None:
    """What is wrong with such a root volume, with the remedy; None for nothing."""
    known = kind or UNSAID
    if iops is None and known in {"io1", "io2"}:
        return f"volume_type {known} needs volume_iops; add it, {_range(IOPS[known])}"
    if iops is not None and known not in IOPS:
        return f"volume_iops is not for volume_type {known}; leave it out, or set volume_type to gp3, io1 or io2"
    if iops is not None and not IOPS[known][0] <= iops <= IOPS[known][1]:
        return f"volume_iops is {iops}; for {known} set {_range(IOPS[known])}"
    if throughput is not None and known != "gp3":
        return f"volume_throughput_mibs is not for volume_type {known}; leave it out, or set volume_type to gp3"
    if gib is not None and not MIN_GIB[known] <= gib <= MAX_GIB[known]:
        return f"volume_gib is {gib}; for {known} set {_range((MIN_GIB[known], MAX_GIB[known]))}"
    return None


def _range(bounds: tuple[int, int]) -> str:
    return f"{bounds[0]} to {bounds[1]}"
