"""Token supply: whether Buildkite issues job tokens now. `bind` needs tokens; `launch` pauses without them."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_stack.domain.moments import is_due

TOKEN_RETRY_DELAY = timedelta(seconds=10)
"""How long launches pause after a request that issued no token. Then the next launch leads to another request."""


@dataclass(slots=True, kw_only=True)
class TokenSupply:
    """What one process observed. A VM without a credential would only wait, and cost money."""

    _down_until: datetime | None = field(default=None, init=False)

    def down(self, now: datetime) -> bool:
        """Whether a recent request issued no token."""
        return not is_due(self._down_until, now, longest=TOKEN_RETRY_DELAY)

    def asked(self, *, issued: int, now: datetime) -> None:
        """Records how many tokens a request issued."""
        self._down_until = None if issued else now + TOKEN_RETRY_DELAY
