"""The instance types that EC2 has: about 1,400, from the data that moto ships, read at the first question.

Source: moto's `ec2/resources/instance_types.json.gz`, which is what DescribeInstanceTypes answered in all regions.
The file is read without importing moto; that takes a tenth of a second, once a process.
"""

import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

MIB_PER_GIB = 1024


@dataclass(frozen=True, kw_only=True)
class InstanceType:
    """One type.

    Attributes:
        described: as DescribeInstanceTypes shows it.
    """

    described: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Such as `m7i.large`."""
        return str(self.described["InstanceType"])

    @property
    def family(self) -> str:
        """Such as `m7i`."""
        return self.name.partition(".")[0]

    @property
    def assignments(self) -> str:
        """What a family's name begins with: `m` of `m7i`, `hpc` of `hpc7a`."""
        return re.split(r"[^a-z]", self.family)[0]

    @property
    def generation(self) -> int:
        """The 7 of `m7i`; 0 for a family without a number."""
        digits = re.search(r"\d+", self.family)
        return int(digits[0]) if digits else 0

    @property
    def vcpus(self) -> int:
        """How many vCPUs it has by default; quotas count these."""
        return int(self.described["VCpuInfo"]["DefaultVCpus"])

    @property
    def memory_mib(self) -> int:
        """Memory in MiB."""
        return int(self.described["MemoryInfo"]["SizeInMiB"])

    @property
    def architectures(self) -> frozenset[str]:
        """Such as `x86_64`."""
        return frozenset(self.described["ProcessorInfo"]["SupportedArchitectures"])

    @property
    def usage_classes(self) -> frozenset[str]:
        """How it can be bought: `on-demand`, `spot`, `capacity-block`."""
        return frozenset(self.described["SupportedUsageClasses"])

    @cached_property
    def accelerators(self) -> tuple["Accelerator", ...]:
        """Its GPUs, FPGAs, inference, training and media chips."""
        return tuple(
            Accelerator(
                kind=kind,
                count=max(1, int(one["Count"])),  # a part of a chip is listed as none
                manufacturer=str(one.get("Manufacturer", "AWS")),
                name=str(one["Name"]),
                memory_mib=int(one.get("MemoryInfo", {}).get("SizeInMiB", 0)),
            )
            for part, listed, kind in _ACCELERATORS
            if part in self.described and not (part == "NeuronInfo" and "InferenceAcceleratorInfo" in self.described)
            for one in self.described[part][listed]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """One kind of chip in a type.

    Attributes:
        kind: as instance requirements name it: `gpu`, `fpga`, `inference`, `media`.
        memory_mib: of one of them.
    """

    kind: str
    count: int
    manufacturer: str
    name: str
    memory_mib: int


_ACCELERATORS = (
    ("GpuInfo", "Gpus", "gpu"),
    ("FpgaInfo", "Fpgas", "fpga"),
    ("InferenceAcceleratorInfo", "Accelerators", "inference"),
    ("NeuronInfo", "NeuronDevices", "inference"),
    ("MediaAcceleratorInfo", "Accelerators", "media"),
)


@cache
def catalogue() -> Mapping[str, InstanceType]:
    """Every type by its name, in alphabetical order.

    Raises:
        ModuleNotFoundError: moto is not installed.
    """
    found = find_spec("moto")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("moto, whose data the instance catalogue is")
    data = Path(found.origin).parent / "ec2" / "resources" / "instance_types.json.gz"
    described = json.loads(gzip.decompress(data.read_bytes()))
    return {name: InstanceType(described=described[name]) for name in sorted(described)}
