"""What EC2 says of instance types, without EC2."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.simulator.cloud.catalogue import catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryInstanceTypes:
    """See the port `InstanceTypes`."""

    def vcpus(self, instance_types: Sequence[str]) -> Mapping[str, int]:
        """See the port."""
        return {one: catalogue()[one].vcpus for one in instance_types if one in catalogue()}
