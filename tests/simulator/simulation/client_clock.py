"""The clock by which a process waits between two tries of a request.

While a process sleeps, other processes run within its sleep, and it goes on when they pause. So it may sleep for longer
than it wanted. No machine does that for half a minute in the midst of a cycle, and the product builds on that: such a
process has ended.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.simulator.simulation.kernel import Kernel
from tests.simulator.simulation.process import Process

LONGEST_SLEEP = timedelta(seconds=30)
"""Longer than a client of the stack waits for one request, or between two tries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientClock:
    """See the port `Clock`."""

    kernel: Kernel
    process: Process

    def now(self) -> datetime:
        """See the port."""
        return self.kernel.now()

    def monotonic(self) -> timedelta:
        """See the port."""
        return self.kernel.monotonic()

    def sleep(self, duration: timedelta) -> None:
        """See the port."""
        until = self.kernel.now() + duration
        self.kernel.sleep(duration)
        if self.kernel.now() - until > LONGEST_SLEEP:
            self.process.die()
