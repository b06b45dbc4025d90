"""Idle cycles that are skipped: what such a cycle would ask is counted and takes its time, and its stages do not run.

A cycle is skipped when it could see and do only what the one before did. That one only listed jobs.
No job waits. Nothing in Buildkite, EC2 or the ledger has changed since, and the ledger is not due to be read again. No
timer of a stage is left, because the longest has run out. A class with standby VMs has timers of its own: then every
cycle runs. tests/unit/simulator/test_day.py plays the same time both ways and compares every job, VM and request.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_stack.dispatcher.empty_ledger import MAX_AGE
from agent_stack.dispatcher.publish_wait_reasons import MIN_INTERVAL

LISTS = "stacks.list_scheduled"
READS = "ledger.active_runs"
SETTLED_AFTER = MIN_INTERVAL + timedelta(seconds=5)
"""How long nothing may have changed: longer than an idle stage's own timers."""


@dataclass(slots=True, kw_only=True)
class Rest:
    """What one dispatcher process would do while nothing happens.

    Attributes:
        changed_at: when the world changed last.
        is_quiet: whether no job waits. One that waits has timers of its own: what its page is told is written again.
        asks: lets the time of a request pass, and counts it.
    """

    changed_at: Callable[[], datetime]
    is_quiet: Callable[[], bool]
    asks: Callable[[str], None]
    skipped: int = 0
    _fence: int | None = None
    _calls: list[str] = field(default_factory=list)
    _resting: tuple[str, ...] = ()
    _read_at: datetime | None = None

    def note(self, call: str) -> None:
        """The process makes a call of a port."""
        self._calls.append(call)

    def cycle(self, now: datetime, fence: int, work: Callable[[datetime, int], bool]) -> bool:
        """One cycle, or what it would take."""
        if self._may_skip(now, fence):
            self.skipped += 1
            for call in self._resting:
                self.asks(call)
            return False
        self._calls.clear()
        busy = work(now, fence)
        if READS in self._calls or fence != self._fence:
            self._read_at = now
        self._fence = fence
        self._resting = () if busy or set(self._calls) != {LISTS} else tuple(self._calls)
        return busy

    def _may_skip(self, now: datetime, fence: int) -> bool:
        if not self._resting or fence != self._fence or self._read_at is None or not self.is_quiet():
            return False
        return now - self.changed_at() >= SETTLED_AFTER and now - self._read_at < MAX_AGE
