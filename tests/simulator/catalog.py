"""For class documents that name their types: every image is Amazon Linux's."""

from agent_stack.domain.classes import InstanceRequirements
from agent_stack.domain.states import CapacityType


class NoShapes:
    """See `Shapes`. Nobody may ask for types."""

    def types(self, wanted: InstanceRequirements, capacity_type: CapacityType) -> tuple[str, ...]:
        """See `Shapes`."""
        raise AssertionError(f"asked for types of {wanted} in {capacity_type}")

    def root_device(self, image: str) -> str:
        """See `Shapes`."""
        return "/dev/xvda"
