"""Active runs: reads them all as long as that is quick, and otherwise those without a VM.

Most runs of a large deployment have a VM, and the dispatcher has nothing more to do with these. Reading all of them in
each cycle would take the time of which the jobs that wait have need.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from agent_stack.domain.runs import Run
from agent_stack.ports import Clock, Ledger

REST = 9
"""All runs are read again after this many times as long as reading them took: a tenth of the time goes to it. A few
hundred runs are read in each cycle."""

LONGEST_REST = timedelta(minutes=1)
"""The same at the longest: with tens of thousands. A run that ended makes room for another after this time."""


@dataclass(slots=True, kw_only=True)
class ActiveRuns:
    """Reads the ledger. A run with a VM may have ended since the latest reading of all; then it counts still."""

    ledger: Ledger
    clock: Clock
    _fence: int | None = field(default=None, init=False)
    _read_at: timedelta = field(default=timedelta(), init=False)
    """When all runs were read last, under the lease with that number, by the monotonic clock."""
    _took: timedelta = field(default=timedelta(), init=False)

    def __call__(self, fence: int) -> Sequence[Run]:
        """All active runs. The first reading under a lease is complete, because others have written before it."""
        began = self.clock.monotonic()
        if self._fence == fence and began - self._read_at < min(LONGEST_REST, REST * self._took):
            return self.ledger.refreshed_runs()
        self._fence = None  # unless it succeeds
        runs = self.ledger.active_runs()
        self._fence, self._read_at = fence, self.clock.monotonic()
        self._took = self._read_at - began
        return runs
