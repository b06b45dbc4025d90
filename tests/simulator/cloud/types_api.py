"""What EC2 says of instance types: DescribeInstanceTypes, their offerings, and those with certain attributes."""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from tests.simulator.cloud.catalogue import InstanceType, catalogue
from tests.simulator.cloud.errors import Ec2Error
from tests.simulator.cloud.pages import page_of
from tests.simulator.cloud.requirements import fits
from tests.simulator.cloud.settings import Settings

MAX_TYPES = 100  # ids in a request, and types on a page; source: DescribeInstanceTypes
OFFERINGS_PAGE = 1000
REQUIREMENTS_PAGE = 100
"""The service chooses it; small enough here that a reader who forgets the next page is found out."""

Request = Mapping[str, Any]


class TypesApi:
    """Serves the three actions."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def describe(self, request: Request) -> dict[str, Any]:
        """DescribeInstanceTypes.

        Raises:
            Ec2Error: too many ids, ids with MaxResults, a type or a filter that there is not.
        """
        named = list(dict.fromkeys(request.get("InstanceTypes", ())))
        if len(named) > MAX_TYPES:
            raise Ec2Error("InvalidParameterValue", f"The maximum number of instance types is {MAX_TYPES}")
        if named and "MaxResults" in request:
            raise Ec2Error(
                "InvalidParameterCombination",
                "The parameter instanceTypes cannot be used with the parameter maxResults",
            )
        missing = [name for name in named if name not in catalogue()]
        if missing:
            raise Ec2Error(
                "InvalidInstanceType",
                f"The following supplied instance types do not exist: [{', '.join(missing)}]",
            )
        shown = [catalogue()[name] for name in sorted(named)] if named else list(catalogue().values())
        for wanted in request.get("Filters", ()):
            shown = [kind for kind in shown if _matches(kind, wanted["Name"], wanted["Values"])]
        return page_of("InstanceTypes", [kind.described for kind in shown], request, MAX_TYPES)

    def offerings(self, request: Request) -> dict[str, Any]:
        """DescribeInstanceTypeOfferings, by region (the default) or by availability zone."""
        where = request.get("LocationType", "region")
        if where not in {"region", "availability-zone"}:
            raise Ec2Error("InvalidParameterValue", f"The location type {where} is not simulated")
        zones = sorted({subnet.zone for subnet in self._settings.subnets.values()})
        places = zones if where == "availability-zone" else [self._settings.region]
        offered = [
            {"InstanceType": name, "LocationType": where, "Location": place}
            for name in catalogue()
            for place in places
            if f"{name}:{place}" not in self._settings.not_offered
        ]
        for wanted in request.get("Filters", ()):
            key = {"instance-type": "InstanceType", "location": "Location"}.get(wanted["Name"])
            if key is None:
                raise unknown_filter(wanted["Name"])
            offered = [one for one in offered if any(fnmatchcase(one[key], value) for value in wanted["Values"])]
        return page_of("InstanceTypeOfferings", offered, request, OFFERINGS_PAGE)

    def with_requirements(self, request: Request) -> dict[str, Any]:
        """GetInstanceTypesFromInstanceRequirements: the names alphabetically, often hundreds of them."""
        architectures = set(request["ArchitectureTypes"])
        virtualisations = set(request["VirtualizationTypes"])
        fitting = [
            {"InstanceType": kind.name}
            for kind in catalogue().values()
            if architectures & kind.architectures
            and virtualisations & set(kind.described["SupportedVirtualizationTypes"])
            and fits(kind, request["InstanceRequirements"])
        ]
        return page_of("InstanceTypes", fitting, request, REQUIREMENTS_PAGE)


def unknown_filter(name: str) -> Ec2Error:
    """The refusal of a filter that there is not."""
    return Ec2Error("InvalidParameterValue", f"The filter '{name}' is invalid")


def _matches(kind: InstanceType, name: str, values: Sequence[str]) -> bool:
    read = _FILTERS.get(name)
    if read is None:
        raise unknown_filter(name)
    return any(fnmatchcase(found, value) for found in read(kind.described) for value in values)


def _flag(name: str) -> Callable[[Mapping[str, Any]], list[str]]:
    return lambda described: [str(described[name]).lower()]


def _list(name: str) -> Callable[[Mapping[str, Any]], list[str]]:
    return lambda described: list(described[name])


_FILTERS: Mapping[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "auto-recovery-supported": _flag("AutoRecoverySupported"),
    "bare-metal": _flag("BareMetal"),
    "burstable-performance-supported": _flag("BurstablePerformanceSupported"),
    "current-generation": _flag("CurrentGeneration"),
    "free-tier-eligible": _flag("FreeTierEligible"),
    "hibernation-supported": _flag("HibernationSupported"),
    "hypervisor": lambda described: [described.get("Hypervisor", "")],
    "instance-storage-supported": _flag("InstanceStorageSupported"),
    "instance-type": lambda described: [described["InstanceType"]],
    "memory-info.size-in-mib": lambda described: [str(described["MemoryInfo"]["SizeInMiB"])],
    "processor-info.supported-architecture": lambda described: described["ProcessorInfo"]["SupportedArchitectures"],
    "supported-boot-mode": _list("SupportedBootModes"),
    "supported-root-device-type": _list("SupportedRootDeviceTypes"),
    "supported-usage-class": _list("SupportedUsageClasses"),
    "supported-virtualization-type": _list("SupportedVirtualizationTypes"),
    "vcpu-info.default-vcpus": lambda described: [str(described["VCpuInfo"]["DefaultVCpus"])],
}
