"""The product's port for identity and chance, from a seed."""

import random

from agent_stack.domain.identifiers import IntentId


class SeededIds:
    """Identity and chance from a seed."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def holder(self) -> str:
        """See the port."""
        return f"{self._random.getrandbits(128):032x}"

    def intent_id(self) -> IntentId:
        """See the port."""
        return IntentId(f"as-{self._random.getrandbits(128):032x}")

    def fraction(self) -> float:
        """See the port."""
        return self._random.random()
