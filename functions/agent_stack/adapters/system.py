"""Time, identity and chance of the real world."""

import random
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from agent_stack.domain.identifiers import IntentId
from agent_stack.ports import Clock

ResultT = TypeVar("ResultT")


class SystemClock:
    """The machine's clock; the only place that reads it."""

    def now(self) -> datetime:
        """See the port."""
        return datetime.now(UTC)

    def monotonic(self) -> timedelta:
        """See the port."""
        return timedelta(seconds=time.monotonic())

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
        self._ends_at = clock.monotonic()

    def begin(self, remaining: timedelta) -> None:
        """An invocation begins that may take that long."""
        self._ends_at = self._clock.monotonic() + remaining

    def left(self) -> timedelta:
        """See the port."""
        return max(timedelta(), self._ends_at - self._clock.monotonic())


class Threads:
    """The port `Workers`: threads, made when they are first needed."""

    def __init__(self, most: int = 8) -> None:
        self._most = most
        self._pool: ThreadPoolExecutor | None = None

    def submit(self, task: Callable[[], ResultT]) -> "Future[ResultT]":
        """See the port."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._most, thread_name_prefix="launch")
        return self._pool.submit(task)

    def wait(self, tasks: Sequence[Any], at_most: timedelta) -> None:
        """See the port."""
        wait(tasks, timeout=at_most.total_seconds())
