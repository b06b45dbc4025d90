"""How long the command waits for AWS: as long as the person at it does."""

from datetime import timedelta


class Patience:
    """See the port `Deadline`: nothing ends the command but the operator."""

    def left(self) -> timedelta:
        """See the port."""
        return timedelta(minutes=5)
