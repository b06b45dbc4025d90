"""What an hour of a type costs, by a model: deterministic, the same in every run, and not what AWS charges.

On demand an hour is 0.0357 USD a vCPU and 0.0034 USD a GiB (solved from the published prices of c5, m5 and r5 in
us-east-1), times a factor for who made the processor, times 5 % for each generation after the sixth, plus the
accelerators by their memory. That keeps what matters to a choice: Graviton is cheaper than AMD, AMD than Intel, an
older generation cheaper than a newer one, a small type cheaper than a large one, and anything with a GPU dear. A spot
hour is a share of that between 25 % and 55 %, which the type's and the zone's names decide.
"""

from functools import cache
from hashlib import sha256

from tests.simulator.cloud.catalogue import MIB_PER_GIB, catalogue

VCPU_HOUR, GIB_HOUR = 0.0357, 0.0034
BY_MANUFACTURER: dict[str, float] = {"AWS": 0.81, "AMD": 0.9}
BURSTABLE = 0.84
A_GENERATION, BASE_GENERATION = 0.05, 6
LOCAL_GB_HOUR = 0.00004
ACCELERATOR_HOUR, ACCELERATOR_GIB_HOUR = 0.2, 0.025
SPOT_SHARE = (0.25, 0.55)


@cache
def on_demand(instance_type: str) -> float:
    """USD an hour, on demand.

    Raises:
        KeyError: there is no such type.
    """
    kind = catalogue()[instance_type]
    processor: float = VCPU_HOUR * kind.vcpus + GIB_HOUR * kind.memory_mib / MIB_PER_GIB
    processor *= BY_MANUFACTURER.get(kind.described["ProcessorInfo"]["Manufacturer"], 1.0)
    processor *= BURSTABLE if kind.described["BurstablePerformanceSupported"] else 1.0
    processor *= 1 + A_GENERATION * max(0, kind.generation - BASE_GENERATION)
    disks: float = LOCAL_GB_HOUR * kind.described.get("InstanceStorageInfo", {}).get("TotalSizeInGB", 0)
    chips = sum(
        chip.count * (ACCELERATOR_HOUR + ACCELERATOR_GIB_HOUR * chip.memory_mib / MIB_PER_GIB)
        for chip in kind.accelerators
    )
    return round(processor + disks + chips, 4)


@cache
def spot(instance_type: str, zone: str) -> float:
    """USD an hour, on spot.

    Raises:
        KeyError: there is no such type.
    """
    drawn = int.from_bytes(sha256(f"{instance_type}:{zone}".encode()).digest()[:4]) / 2**32
    least, most = SPOT_SHARE
    return round(on_demand(instance_type) * (least + drawn * (most - least)), 4)


def price(capacity_type: str, instance_type: str, zone: str) -> float:
    """USD an hour of a pool; infinite for a type that there is not."""
    if instance_type not in catalogue():
        return float("inf")
    return spot(instance_type, zone) if capacity_type == "spot" else on_demand(instance_type)
