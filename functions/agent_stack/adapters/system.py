"""Time, identity and chance of the real world."""

import random
import time
import uuid
from datetime import UTC, datetime, timedelta

from agent_stack.domain.identifiers import IntentId
from agent_stack.ports import Clock


class SystemClock:
    """The machine's clock; the only place that reads it."""

    def now(self) -> datetime:
        """See the port."""
        return datetime.now(UTC)

    def sleep(self, duration: timedelta) -> None:
        """See the port."""
        time.sleep(max(0.0, duration.total_seconds()))


class SystemIds:
    """Identity and jitter from the machine's own randomness."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def holder(self) -> str:
        """See the port."""
        return uuid.uuid4().hex

    def intent_id(self) -> IntentId:
        """See the port."""
        return IntentId(f"as-{uuid.uuid4().hex}")

    def fraction(self) -> float:
        """See the port."""
        return self._random.random()


class InvocationDeadline:
    """The end of the invocation under way; set at its beginning, shared by everything that asks the world."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ends_at = clock.now()

    def begin(self, remaining: timedelta) -> None:
        """An invocation begins that may take that long."""
        self._ends_at = self._clock.now() + remaining

    def left(self) -> timedelta:
        """See the port."""
        return max(timedelta(), self._ends_at - self._clock.now())
