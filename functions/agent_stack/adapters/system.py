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


def _wall() -> datetime:
    return datetime.now(UTC)


class SystemClock:
    """The machine's clock; the only place that reads it.

    Lambda freezes a process between its invocations, and the machine's monotonic clock may stand still meanwhile. So an
    age that spans a freeze would be seconds where it is hours. `thawed` adds what was missed, by the wall clock.
    Source: github.com/hashicorp/vault-lambda-extension, pull request 150.
    """

    def __init__(self, wall: Callable[[], datetime] = _wall, counter: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._counter = wall, counter
        self._missed = timedelta()
        self._last_awake = self._both()
        """Both clocks at the end of an invocation, before a freeze. No thread that wakes up first touches them."""

    def now(self) -> datetime:
        """See the port."""
        return self._wall()

    def monotonic(self) -> timedelta:
        """See the port."""
        return timedelta(seconds=self._counter()) + self._missed

    def thawed(self) -> None:
        """An invocation begins: the time for which the process was frozen counts; a clock that is set back does not."""
        wall_before, counted_before = self._last_awake
        wall, counted = self._last_awake = self._both()
        self._missed += max(timedelta(), (wall - wall_before) - (counted - counted_before))

    def ends(self) -> None:
        """An invocation ends: from now on Lambda may freeze the process."""
        self._last_awake = self._both()

    def _both(self) -> tuple[datetime, timedelta]:
        return self._wall(), timedelta(seconds=self._counter())

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

    def __init__(self, most: int = 8, *, name: str = "launch") -> None:
        self._most, self._name = most, name
        self._pool: ThreadPoolExecutor | None = None

    def submit(self, task: Callable[[], ResultT]) -> "Future[ResultT]":
        """See the port."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._most, thread_name_prefix=self._name)
        return self._pool.submit(task)

    def wait(self, tasks: Sequence[Any], at_most: timedelta) -> None:
        """See the port."""
        wait(tasks, timeout=at_most.total_seconds())
