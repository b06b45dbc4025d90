"""What EC2 says of types and images, for tests that need no EC2."""

from collections.abc import Mapping

from agent_stack.domain.classes import InstanceRequirements
from agent_stack.domain.states import CapacityType


class NoShapes:
    """See `InstanceCatalog`. Nobody may ask for types."""

    def __init__(self, root_devices: Mapping[str, str] | None = None) -> None:
        self._root_devices = root_devices or {}

    def types(self, wanted: InstanceRequirements, capacity_type: CapacityType) -> tuple[str, ...]:
        """See `InstanceCatalog`."""
        raise AssertionError(f"asked for types of {wanted} in {capacity_type}")

    def image_id(self, image: str) -> str:
        """See `InstanceCatalog`."""
        return f"ami-of-{image}" if image.startswith("resolve:") else image

    def root_device(self, image: str) -> str:
        """See `InstanceCatalog`."""
        return self._root_devices.get(image, "/dev/xvda")
