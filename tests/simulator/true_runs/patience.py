"""How long a run may take. Time in which the whole machine stood still, or was busy with others, counts little."""

import time
from collections.abc import Callable

MOST_OF_A_LOOK = 1.0
"""Seconds that count between two looks. A look comes some times a second where there is a processor for it."""


class Patience:
    """Ends after that many seconds, counted from look to look."""

    def __init__(self, seconds: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._left = seconds
        self._monotonic = monotonic
        self._looked_at = monotonic()

    def lasts(self) -> bool:
        """Look once more; whether there is some left."""
        now = self._monotonic()
        self._left -= min(now - self._looked_at, MOST_OF_A_LOOK)
        self._looked_at = now
        return self._left > 0
