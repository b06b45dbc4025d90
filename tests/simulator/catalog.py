"""What EC2 says of types and images, for tests that need no EC2."""

from collections.abc import Mapping, Sequence

from agent_stack.adapters.ssm.class_document import Requirements
from agent_stack.domain.states import CapacityType
from tests.simulator.cloud.catalogue import catalogue


class NoShapes:
    """See `InstanceCatalog`. Nobody may ask for types."""

    def __init__(self, root_devices: Mapping[str, str] | None = None) -> None:
        self._root_devices = root_devices or {}

    def types(self, wanted: Requirements, market: CapacityType) -> tuple[str, ...]:
        """See `InstanceCatalog`."""
        raise AssertionError(f"asked for types of {wanted} in {market}")

    def root_device(self, image: str) -> str:
        """See `InstanceCatalog`."""
        return self._root_devices.get(image, "/dev/xvda")


class CataloguedTypes:
    """The port `InstanceTypes`, from the catalogue that the fake EC2 has."""

    def vcpus(self, instance_types: Sequence[str]) -> Mapping[str, int]:
        """See the port."""
        return {name: catalogue()[name].vcpus for name in instance_types if name in catalogue()}
