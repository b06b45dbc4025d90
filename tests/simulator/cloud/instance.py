"""One instance, as the model keeps it and as a test may look at it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.simulator.cloud.catalogue import catalogue

STATE_CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
UP = frozenset({"pending", "running"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An instance at one moment.

    Attributes:
        market: `on-demand` or `spot`.
        reason: EC2's state reason code once it is going.
        root_device: of its image.
        devices: names of all its disks, the root's first. A volume that a launch asks for under another name than the
            root's is one more disk.
        volumes: what the launch asked for of each disk, by the disk's name.
        metadata_tags: the tags that its metadata shows it; None where they are not enabled.
    """

    instance_id: str
    instance_type: str
    zone: str
    subnet_id: str
    capacity_type: str
    image_id: str
    user_data: bytes = field(repr=False)
    tags: Mapping[str, str]
    launched_at: datetime
    running_at: datetime
    state: str = "pending"
    reason: str = ""
    terminated_at: datetime | None = None
    root_device: str = "/dev/xvda"
    devices: tuple[str, ...] = ("/dev/xvda",)
    volumes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    metadata_tags: Mapping[str, str] | None = None

    @property
    def pool(self) -> str:
        """Where its capacity came from."""
        return f"{self.capacity_type}:{self.instance_type}:{self.zone}"

    def described(self) -> dict[str, Any]:
        """The instance as DescribeInstances shows it."""
        vcpus = catalogue()[self.instance_type].described["VCpuInfo"]
        shown: dict[str, Any] = {
            "InstanceId": self.instance_id,
            "InstanceType": self.instance_type,
            "ImageId": self.image_id,
            "SubnetId": self.subnet_id,
            "LaunchTime": self.launched_at,
            "Placement": {"AvailabilityZone": self.zone, "Tenancy": "default"},
            "RootDeviceName": self.root_device,
            "BlockDeviceMappings": [{"DeviceName": device} for device in self.devices],
            "State": {"Code": STATE_CODES[self.state], "Name": self.state},
            "CpuOptions": {"CoreCount": vcpus["DefaultCores"], "ThreadsPerCore": vcpus["DefaultThreadsPerCore"]},
            "Tags": [{"Key": key, "Value": value} for key, value in sorted(self.tags.items())],
        }
        if self.capacity_type == "spot":
            shown["InstanceLifecycle"] = "spot"
        if self.reason:
            shown["StateReason"] = {"Code": self.reason, "Message": self.reason}
        return shown
