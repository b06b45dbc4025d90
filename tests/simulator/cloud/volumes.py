"""What EC2 says of the disks that a launch asks for."""

from collections.abc import Mapping
from typing import Any

from tests.simulator.cloud.errors import Ec2Error
from tests.simulator.cloud.images import Image

IOPS: Mapping[str, tuple[int, int]] = {"gp3": (3_000, 80_000), "io1": (100, 64_000), "io2": (100, 256_000)}
GIB: Mapping[str, tuple[int, int]] = {
    "gp2": (1, 16_384),
    "gp3": (1, 65_536),
    "io1": (4, 16_384),
    "io2": (4, 65_536),
    "standard": (1, 1_024),
}
THROUGHPUT = (125, 2_000)
IOPS_OF_A_GIB: Mapping[str, int] = {"gp3": 500, "io1": 50, "io2": 1_000}
"""Source: the reference of FleetEbsBlockDeviceRequest, and the EBS user guide on volume types."""

UNSAID = "gp2"
"""What a disk is where a launch does not say it: the image's own, which is gp2 here."""


def check_volumes(override: Mapping[str, Any]) -> None:
    """Whether EC2 makes the volumes that an override asks for.

    Raises:
        Ec2Error: it makes none like that.
    """
    for mapping in override.get("BlockDeviceMappings", ()):
        _check(mapping.get("Ebs", {}))


def check_room(image: Image, override: Mapping[str, Any]) -> None:
    """Whether the image's snapshot fits on the root volume that an override asks for.

    Raises:
        Ec2Error: it does not. Source: the error code reference of the EC2 API, InvalidBlockDeviceMapping.
    """
    for mapping in override.get("BlockDeviceMappings", ()):
        size = mapping.get("Ebs", {}).get("VolumeSize")
        if mapping.get("DeviceName") == image.root_device and None not in {size, image.root_gib}:
            least = image.root_gib or 0
            if int(size) < least:
                words = f"Volume of size {size}GB is smaller than snapshot 'snap-1', expect size >= {least}GB"
                raise Ec2Error("InvalidBlockDeviceMapping", words)


def _check(disk: Mapping[str, Any]) -> None:
    kind = disk.get("VolumeType", UNSAID)
    if kind not in GIB:
        raise Ec2Error("InvalidParameterValue", f"The volume type {kind} cannot be a root volume.")
    iops, throughput, size = disk.get("Iops"), disk.get("Throughput"), disk.get("VolumeSize")
    if iops is None and kind in {"io1", "io2"}:
        raise Ec2Error("MissingParameter", f"The parameter iops must be specified for {kind} volumes.")
    if iops is not None and kind not in IOPS:
        raise Ec2Error("InvalidParameterCombination", f"The parameter iops is not supported for {kind} volumes.")
    if throughput is not None and kind != "gp3":
        raise Ec2Error("InvalidParameterCombination", f"The parameter throughput is not supported for {kind} volumes.")
    _within("Volume size", size, GIB[kind])
    _within("Volume iops", iops, IOPS.get(kind, (0, 0)))
    _within("Volume throughput", throughput, THROUGHPUT)
    if iops is not None and size is not None and iops > max(size * IOPS_OF_A_GIB[kind], IOPS[kind][0]):
        raise Ec2Error("InvalidParameterCombination", f"Iops to volume size ratio of {iops / size:.1f} is too high.")
    if throughput is not None and throughput > max((iops or IOPS["gp3"][0]) / 4, THROUGHPUT[0]):
        raise Ec2Error("InvalidParameterCombination", "Throughput (MiBps) to iops ratio is too high; maximum is 0.25.")


def _within(what: str, value: int | None, bounds: tuple[int, int]) -> None:
    if value is not None and not bounds[0] <= value <= bounds[1]:
        raise Ec2Error("InvalidParameterValue", f"{what} of {value} is not within {bounds[0]} to {bounds[1]}.")
