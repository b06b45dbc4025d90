"""Whether job tokens can be had. Shared by the step that needs them and by the one that launches VMs for them."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

TOKEN_RETRY_DELAY = timedelta(seconds=10)
"""How long launches wait after a request for tokens that gave none; then one launch asks anew."""


@dataclass(slots=True, kw_only=True)
class TokenSupply:
    """One process's experience. A VM that cannot be given a credential would only wait, and cost."""

    _down_until: datetime | None = field(default=None, init=False)

    def down(self, now: datetime) -> bool:
        """The last request gave none, not long ago."""
        return self._down_until is not None and now < self._down_until

    def asked(self, *, issued: int, now: datetime) -> None:
        """Tokens were asked for, and so many came."""
        self._down_until = None if issued else now + TOKEN_RETRY_DELAY
