"""Sliding-window rate limits, one window per stack and endpoint."""

import math
from collections import defaultdict, deque
from dataclasses import dataclass
from datetime import datetime, timedelta

_WINDOW = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateStatus:
    """Where one scope stands right after a request was counted or turned away.

    `reset_seconds` is how long until the oldest request leaves the window, rounded up; 0 when the
    window is empty.
    """

    scope: str
    limit: int
    current: int
    reset_seconds: int
    exceeded: bool

    @property
    def headers(self) -> dict[str, str]:
        """The headers that go onto every answer of a limited endpoint."""
        return {
            "RateLimit-Scope": self.scope,
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(max(self.limit - self.current, 0)),
            "RateLimit-Reset": str(self.reset_seconds),
        }


class SlidingWindows:
    """Counts requests per scope. A request that is turned away does not count."""

    def __init__(self) -> None:
        self._admitted: defaultdict[str, deque[datetime]] = defaultdict(deque)

    def admit(self, scope: str, limit: int, at: datetime, *, enforced: bool) -> RateStatus:
        """Count one request, unless the window is full and the limit enforced."""
        window = self._current(scope, at)
        exceeded = enforced and len(window) >= limit
        if not exceeded:
            window.append(at)
        return self._status(scope, limit, window, at, exceeded=exceeded)

    def _current(self, scope: str, at: datetime) -> deque[datetime]:
        window = self._admitted[scope]
        while window and window[0] <= at - _WINDOW:
            window.popleft()
        return window

    @staticmethod
    def _status(scope: str, limit: int, window: deque[datetime], at: datetime, *, exceeded: bool) -> RateStatus:
        reset = math.ceil((window[0] + _WINDOW - at).total_seconds()) if window else 0
        return RateStatus(scope=scope, limit=limit, current=len(window), reset_seconds=reset, exceeded=exceeded)
