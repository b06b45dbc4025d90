"""What falls due when: the model's only notion of the future.

The model has no clock. It writes deadlines here and asks, at each request, which of them have passed.
"""

import heapq
from collections.abc import Callable
from datetime import datetime

Deadline = Callable[[datetime], None]
"""Called with the moment the deadline fell due, which may lie before the moment it is noticed."""


class Agenda:
    """Named deadlines, the earliest first; setting a name again replaces its deadline."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, str]] = []
        self._live: dict[str, tuple[int, Deadline]] = {}
        self._count = 0

    def set(self, name: str, due: datetime, deadline: Deadline) -> None:
        """Run `deadline` when `due` is reached, in place of an earlier deadline of that name."""
        self._count += 1
        self._live[name] = (self._count, deadline)
        heapq.heappush(self._heap, (due, self._count, name))

    def drop(self, name: str) -> None:
        """Forget the deadline of that name, if there is one."""
        self._live.pop(name, None)

    def next_due(self) -> datetime | None:
        """When the earliest live deadline falls due, or None when nothing is pending."""
        while self._heap:
            due, count, name = self._heap[0]
            if self._is_live(name, count):
                return due
            heapq.heappop(self._heap)
        return None

    def run_until(self, now: datetime) -> None:
        """Run every deadline that is due at `now`, in the order in which they fell due."""
        while (due := self.next_due()) is not None and due <= now:
            _, _, name = heapq.heappop(self._heap)
            _, deadline = self._live.pop(name)
            deadline(due)

    def _is_live(self, name: str, count: int) -> bool:
        live = self._live.get(name)
        return live is not None and live[0] == count
