"""One queue of events on a virtual clock. Whoever waits lets the events happen that fall due meanwhile."""

import heapq
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta

from tests.simulator.clock import EPOCH

MAX_EVENTS = 200_000  # a world that has so many goes round in circles


class Kernel:
    """Time, and what happens in it. Also the port `Clock`."""

    def __init__(self, start: datetime = EPOCH, max_events: int = MAX_EVENTS) -> None:
        self._now = self.start = start
        self._max_events = max_events
        self._queue: list[tuple[datetime, int, str, Callable[[], None]]] = []
        self._count = 0
        self.steps = 0
        self.trace: list[str] = []
        self.after_each: list[Callable[[], None]] = []
        self.aside: Callable[[], AbstractContextManager[None]] = nullcontext
        """What the rest of the world happens within while a function sleeps: its CPU is not the function's."""

    def now(self) -> datetime:
        """See the port."""
        return self._now

    def monotonic(self) -> timedelta:
        """See the port. No skew and no step of a function's clock changes it."""
        return self._now - self.start

    def sleep(self, duration: timedelta) -> None:
        """See the port. What falls due meanwhile happens meanwhile."""
        with self.aside():
            self.run_until(self._now + max(timedelta(), duration))

    def after(self, delay: timedelta, name: str, action: Callable[[], None]) -> None:
        """Let that happen later; of two at the same moment the one asked for first."""
        self._count += 1
        heapq.heappush(self._queue, (self._now + delay, self._count, name, action))

    def note(self, text: str) -> None:
        """Write a line of the trace."""
        self.trace.append(f"{(self._now - self.start).total_seconds():9.3f} {text}")

    def run_until(self, end: datetime) -> None:
        """Let everything happen that is due by then."""
        while self._queue and self._queue[0][0] <= end:
            due, _, name, action = heapq.heappop(self._queue)
            self._now = max(self._now, due)
            self.steps += 1
            if self.steps > self._max_events:
                raise RuntimeError(f"{self._max_events} events and no end")
            if name:
                self.note(name)
            action()
            for check in self.after_each:
                check()
        self._now = max(self._now, end)
