"""For class documents that leave nothing open."""

from agent_stack.adapters.ssm.class_document import Requirements
from agent_stack.domain.states import Market


class NoShapes:
    """See `Shapes`. Nobody may ask."""

    def types(self, wanted: Requirements, market: Market) -> tuple[str, ...]:
        """See `Shapes`."""
        raise AssertionError(f"asked for types of {wanted} in {market}")

    def root_device(self, image: str) -> str:
        """See `Shapes`."""
        raise AssertionError(f"asked for the root device of {image}")
