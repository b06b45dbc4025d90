"""Cycle room: how many jobs one cycle works on, so that the cycle ends while its lease lasts.

A small function needs milliseconds of CPU to reserve or to bind one job. A cycle that began thousands of jobs at once
would outlast its lease. Then another invocation takes over, and no launch of this one is permitted any more. So a cycle
works on as many jobs as it can within a few seconds, first in line first. The others wait for the next cycle.
"""

from dataclasses import dataclass, field
from datetime import timedelta

from agent_stack.dispatcher.cycle import FIRST_ROOM, DispatcherCycle

FEWEST = 100
"""No cycle works on fewer, however slow it is: less would not make it shorter, because each request takes its time."""

MOST = 10_000
"""As many as `poll` reads from one queue."""

WORK = timedelta(seconds=4)
"""Seconds of a cycle that go to jobs."""

CYCLE = timedelta(seconds=8)
"""Seconds of a cycle in all, at most: its lease lasts longer. One that has read for long works on fewer jobs."""

LEAST = 0.25
"""The share of its jobs that a cycle works on in any case."""


def room_after(reading: timedelta, room: int) -> int:
    """How many of so many jobs a cycle works on that has read for so long."""
    return round(room * min(1.0, max(LEAST, (CYCLE - reading) / WORK)))


@dataclass(slots=True, kw_only=True)
class CycleRoom:
    """What one process learnt about its own speed. Only `reconcile` writes it, after each cycle.

    Attributes:
        jobs: how many jobs the next cycle works on: it reserves or binds each.
    """

    jobs: int = FIRST_ROOM
    _each: float | None = field(default=None, init=False)
    """Seconds of one job."""

    def learn(self, cycle: DispatcherCycle, ended: timedelta) -> None:
        """Measures a cycle that ended at that time, by the monotonic clock."""
        worked, took = cycle.reserved + len(cycle.bound), ended - cycle.work_began
        if worked < FEWEST or (took <= WORK and 2 * worked < self.jobs):
            return  # a few jobs take as long as their requests, which tells nothing about many
        each = took.total_seconds() / worked
        self._each = each if self._each is None else (self._each + each) / 2
        self.jobs = max(FEWEST, min(MOST, int(WORK.total_seconds() / max(self._each, 1e-6))))
