"""Quiet: whether the ledger is known to hold no run and no launch, so that an idle cycle need not read it.

Runs are recorded and intents written by the dispatcher alone, under its lease; the tracker only changes and ends runs
that are there. So once a read under a lease showed neither, and we have recorded nothing since, there is neither, as
long as the lease has not changed hands: its fencing number tells. Intents need no look of their own, for none is
written without a run that was recorded or read before.

One may still break in. A dispatcher that was overtaken in the middle of a cycle does not know it yet: its launches are
fenced off, but what it records is not. Such a run nobody would launch; so the ledger is read anew after `MAX_AGE`, and
with each new shift.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

MAX_AGE = timedelta(seconds=30)
"""Nine reads each time: twice a minute they cost 0.10 USD a month, with every cycle of two seconds 1.50."""


@dataclass(slots=True, kw_only=True)
class EmptyLedgerCache:
    """One process's knowledge. Shared by the step that reads the ledger and by the one that records runs."""

    _seen: tuple[int, datetime] | None = field(default=None, init=False)

    def is_valid(self, fence: int, now: datetime) -> bool:
        """Nothing is there under that lease."""
        return self._seen is not None and self._seen[0] == fence and now - self._seen[1] < MAX_AGE

    def mark_empty(self, fence: int, now: datetime) -> None:
        """A read that was begun then, under that lease, showed nothing."""
        self._seen = (fence, now)

    def invalidate(self) -> None:
        """We are about to record something; whether that succeeds only a read will tell."""
        self._seen = None
