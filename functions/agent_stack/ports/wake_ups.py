"""Wake-ups port: what one function tells the other, so that it looks sooner."""

from typing import Protocol


class WakeUps(Protocol):
    """Hints. Losing or repeating one changes when something is noticed, never what is done about it."""

    def wake_tracker(self) -> None:
        """Lets the tracker look within about ten seconds, also when no tracker runs."""
