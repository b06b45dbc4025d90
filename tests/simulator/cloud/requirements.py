"""Which types have the attributes that InstanceRequirements ask for.

Source: the EC2 API reference, `InstanceRequirementsRequest`, whose defaults are kept: bare metal and burstable types
only when they are asked for, accelerators and previous generations unless they are excluded. Price protection is not
applied.
"""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from tests.simulator.cloud.catalogue import MIB_PER_GIB, InstanceType
from tests.simulator.cloud.errors import Ec2Error

_CPU_MAKERS = {"AWS": "amazon-web-services", "AMD": "amd", "Apple": "apple", "Intel": "intel"}
_CHIP_MAKERS = {
    "AMD": "amd",
    "AWS": "amazon-web-services",
    "Habana": "habana",
    "NVIDIA": "nvidia",
    "Nvidia": "nvidia",
    "Xilinx": "xilinx",
}

Wanted = Mapping[str, Any]


def fits(kind: InstanceType, wanted: Wanted) -> bool:
    """Whether a type has all of the attributes.

    Raises:
        Ec2Error: a requirement is missing, unknown, or excludes another.
    """
    for name in ("VCpuCount", "MemoryMiB"):
        if "Min" not in wanted.get(name, {}):
            raise Ec2Error(
                "MissingParameter", f"The request must contain the parameter InstanceRequirements.{name}.Min"
            )
    if wanted.get("AllowedInstanceTypes") and wanted.get("ExcludedInstanceTypes"):
        raise Ec2Error(
            "InvalidParameterCombination", "AllowedInstanceTypes and ExcludedInstanceTypes exclude each other"
        )
    unknown = set(wanted) - set(_CHECKS) - _WITHOUT_EFFECT
    if unknown:
        raise Ec2Error("UnknownParameter", f"The parameter {min(unknown)} is not recognized")
    return all(check(kind, wanted.get(name, _DEFAULTS.get(name))) for name, check in _CHECKS.items())


def _within(value: float, bounds: Mapping[str, float] | None) -> bool:
    return not bounds or bounds.get("Min", value) <= value <= bounds.get("Max", value)


def _any_of(wanted: Sequence[str] | None, found: Sequence[str]) -> bool:
    return not wanted or bool(set(wanted) & set(found))


def _three_ways(has_it: bool, wanted: str) -> bool:  # noqa: FBT001  (the type's own)
    return {"included": True, "excluded": not has_it, "required": has_it}[wanted]


def _named(kind: InstanceType, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(kind.name, pattern) for pattern in patterns)


def _chips(kind: InstanceType) -> int:
    return sum(chip.count for chip in kind.accelerators)


def _chip_memory(kind: InstanceType) -> int:
    return sum(chip.count * chip.memory_mib for chip in kind.accelerators)


def _chip_names(kind: InstanceType) -> list[str]:
    return [chip.name.lower().replace(" ", "-") for chip in kind.accelerators]


def _disks(kind: InstanceType) -> Mapping[str, Any]:
    disks: Mapping[str, Any] = kind.described.get("InstanceStorageInfo", {})
    return disks


def _network(kind: InstanceType) -> Mapping[str, Any]:
    network: Mapping[str, Any] = kind.described["NetworkInfo"]
    return network


def _bandwidth(kind: InstanceType) -> float:
    return float(sum(card.get("BaselineBandwidthInGbps", 0.0) for card in _network(kind).get("NetworkCards", ())))


def _ebs_bandwidth(kind: InstanceType) -> float:
    return float(kind.described["EbsInfo"].get("EbsOptimizedInfo", {}).get("BaselineBandwidthInMbps", 0))


_CHECKS: Mapping[str, Callable[[InstanceType, Any], bool]] = {
    "VCpuCount": lambda kind, wanted: _within(kind.vcpus, wanted),
    "MemoryMiB": lambda kind, wanted: _within(kind.memory_mib, wanted),
    "MemoryGiBPerVCpu": lambda kind, wanted: _within(kind.memory_mib / MIB_PER_GIB / kind.vcpus, wanted),
    "CpuManufacturers": lambda kind, wanted: _any_of(
        wanted, [_CPU_MAKERS.get(kind.described["ProcessorInfo"]["Manufacturer"], "")]
    ),
    "InstanceGenerations": lambda kind, wanted: _any_of(
        wanted, ["current" if kind.described["CurrentGeneration"] else "previous"]
    ),
    "BareMetal": lambda kind, wanted: _three_ways(kind.described["BareMetal"], wanted),
    "BurstablePerformance": lambda kind, wanted: _three_ways(kind.described["BurstablePerformanceSupported"], wanted),
    "LocalStorage": lambda kind, wanted: _three_ways(kind.described["InstanceStorageSupported"], wanted),
    "LocalStorageTypes": lambda kind, wanted: (
        not kind.described["InstanceStorageSupported"] or _any_of(wanted, [d["Type"] for d in _disks(kind)["Disks"]])
    ),
    "TotalLocalStorageGB": lambda kind, wanted: _within(_disks(kind).get("TotalSizeInGB", 0), wanted),
    "AcceleratorCount": lambda kind, wanted: _within(_chips(kind), wanted),
    "AcceleratorTypes": lambda kind, wanted: _any_of(wanted, [chip.kind for chip in kind.accelerators]),
    "AcceleratorManufacturers": lambda kind, wanted: _any_of(
        wanted, [_CHIP_MAKERS.get(chip.manufacturer, "") for chip in kind.accelerators]
    ),
    "AcceleratorNames": lambda kind, wanted: _any_of(wanted, _chip_names(kind)),
    "AcceleratorTotalMemoryMiB": lambda kind, wanted: _within(_chip_memory(kind), wanted),
    "NetworkInterfaceCount": lambda kind, wanted: _within(_network(kind)["MaximumNetworkInterfaces"], wanted),
    "NetworkBandwidthGbps": lambda kind, wanted: _within(_bandwidth(kind), wanted),
    "BaselineEbsBandwidthMbps": lambda kind, wanted: _within(_ebs_bandwidth(kind), wanted),
    "RequireHibernateSupport": lambda kind, wanted: not wanted or kind.described["HibernationSupported"],
    "RequireEncryptionInTransit": lambda kind, wanted: not wanted or _network(kind)["EncryptionInTransitSupported"],
    "AllowedInstanceTypes": lambda kind, wanted: not wanted or _named(kind, wanted),
    "ExcludedInstanceTypes": lambda kind, wanted: not wanted or not _named(kind, wanted),
}
_DEFAULTS = {"BareMetal": "excluded", "BurstablePerformance": "excluded", "LocalStorage": "included"}
_WITHOUT_EFFECT = frozenset(
    {
        "BaselinePerformanceFactors",
        "MaxSpotPriceAsPercentageOfOptimalOnDemandPrice",
        "OnDemandMaxPricePercentageOverLowestPrice",
        "SpotMaxPricePercentageOverLowestPrice",
    }
)
"""Known, and not simulated: the first three set price protection, which this action does not apply."""
