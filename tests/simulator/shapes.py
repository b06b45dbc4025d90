"""For class documents that name their types: every image is Amazon Linux's."""

from agent_stack.adapters.ssm.class_document import Requirements
from agent_stack.domain.states import Market


class NoShapes:
    """See `Shapes`. Nobody may ask for types."""

    def types(self, wanted: Requirements, market: Market) -> tuple[str, ...]:
        """See `Shapes`."""
        raise AssertionError(f"asked for types of {wanted} in {market}")

    def root_device(self, image: str) -> str:
        """See `Shapes`."""
        return "/dev/xvda"
