"""A client-side limiter: stays under the published rate of each endpoint, and follows what the headers say.

The API counts each stack and endpoint over a sliding second. We use four fifths of it: during a hand-over two
invocations of a function speak at once for a moment, and a queue's dispatcher and tracker share `reserve`.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from agent_stack.adapters.stacks_api.limits import Operation

WINDOW = timedelta(seconds=1)
MAX_SHARE = 0.8
MAX_RESET = timedelta(seconds=60)
MAX_BLOCKED = timedelta(seconds=300)
"""A header may ask for more; then we ask again after this time."""
MAX_AWAY = timedelta(seconds=60)
"""Of a service that is away. A gateway in front of it may say too long, and jobs would wait when it is back."""


class Rates:
    """When the next request of an endpoint may go out, by the process's monotonic clock.

    Thread-safe: readers beside the cycle ask Buildkite, too.
    """

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._sent: dict[tuple[str, str], deque[timedelta]] = defaultdict(deque)
        self._blocked_until: dict[tuple[str, str], timedelta] = {}
        self._limit: dict[tuple[str, str], int] = {}

    def delay(self, stack: str, operation: Operation, now: timedelta) -> timedelta:
        """How long to wait before sending; zero claims the place in the window."""
        with self._one_at_a_time:
            return self._delay((stack, operation.scope), operation, now)

    def _delay(self, key: tuple[str, str], operation: Operation, now: timedelta) -> timedelta:
        blocked = self._blocked_until.get(key)
        if blocked is not None and now < blocked:
            return blocked - now
        sent = self._sent[key]
        while sent and now - sent[0] >= WINDOW:
            sent.popleft()
        if len(sent) < max(1, int(self._limit.get(key, operation.per_second) * MAX_SHARE)):
            sent.append(now)
            return timedelta()
        return WINDOW - (now - sent[0])

    def heard(self, stack: str, operation: Operation, headers: Mapping[str, str], now: timedelta) -> None:
        """Learn from an answer's RateLimit headers; nonsense in them is ignored."""
        key = (stack, operation.scope)
        limit, remaining = _number(headers.get("RateLimit-Limit")), _number(headers.get("RateLimit-Remaining"))
        reset = _number(headers.get("RateLimit-Reset"))
        with self._one_at_a_time:
            if limit:
                self._limit[key] = int(limit)
            if remaining == 0 and reset:
                self._block(key, now + min(timedelta(seconds=reset), MAX_RESET))

    def refused(self, stack: str, operation: Operation, after: timedelta, now: timedelta) -> None:
        """Buildkite refused a request and asked us to wait: no request of the endpoint goes out before that."""
        with self._one_at_a_time:
            self._block((stack, operation.scope), now + min(after, MAX_BLOCKED))

    def _block(self, key: tuple[str, str], until: timedelta) -> None:
        """Until then, or for as long as it is blocked already."""
        self._blocked_until[key] = max(until, self._blocked_until.get(key, until))


def retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """How long a 429 asks us to wait: Retry-After, else RateLimit-Reset; None when it says neither.

    Retry-After may be a time, as HTTP has it: by the clock of the same answer, or by ours where that says none.
    """
    seconds = _said(headers, now)
    if seconds is None:
        seconds = _number(headers.get("RateLimit-Reset"))
    return None if seconds is None else min(timedelta(seconds=seconds), MAX_BLOCKED)


def away_for(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """How long a service that answers 5xx says that it is away; None when it does not."""
    seconds = _said(headers, now)
    return None if seconds is None else min(timedelta(seconds=seconds), MAX_AWAY)


def _said(headers: Mapping[str, str], now: datetime) -> float | None:
    """The seconds of Retry-After."""
    seconds, until = _number(headers.get("Retry-After")), _time(headers.get("Retry-After"))
    if seconds is None and until is not None:
        return max(0.0, (until - (_time(headers.get("Date")) or now)).total_seconds())
    return seconds


def used_percent(headers: Mapping[str, str]) -> float:
    """How much of an endpoint's limit is used up by now; 0 when the headers do not say."""
    limit, remaining = _number(headers.get("RateLimit-Limit")), _number(headers.get("RateLimit-Remaining"))
    return 100 * max(0.0, 1 - remaining / limit) if limit and remaining is not None else 0.0


def _number(header: str | None) -> float | None:
    try:
        value = float(header) if header is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < 1e6 else None  # noqa: PLR2004  (rejects nan, inf and nonsense)


def _time(header: str | None) -> datetime | None:
    try:
        read = parsedate_to_datetime(header or "")
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
