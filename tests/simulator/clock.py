"""Time, identity and chance of a world that only moves when it is told to."""

import random
from datetime import UTC, datetime, timedelta

from agent_stack.domain.identifiers import IntentId

EPOCH = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


class VirtualClock:
    """A clock that stands still; whoever sleeps moves it."""

    def __init__(self, start: datetime = EPOCH) -> None:
        self._now = start

    def now(self) -> datetime:
        """See the port."""
        return self._now

    def sleep(self, duration: timedelta) -> None:
        """See the port."""
        self._now += max(timedelta(), duration)


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


class FixedDeadline:
    """An invocation with that much time left, always."""

    def __init__(self, left: timedelta = timedelta(seconds=60)) -> None:
        self._left = left

    def left(self) -> timedelta:
        """See the port."""
        return self._left
