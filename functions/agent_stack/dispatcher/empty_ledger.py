"""Empty ledger: remembers that the ledger holds no run and no launch, so that an idle cycle does not read it.

Only the dispatcher records runs and writes intents, under its lease; the tracker changes and ends existing runs. After
a read under a lease showed none, the ledger stays empty until this process records a run or the fencing number changes.
Intents need no check of their own, because the dispatcher writes none without a run.

Exception: a dispatcher that lost its lease in the middle of a cycle can still record a run, because only intents are
fenced. Without another read no dispatcher would launch a VM for this run. So the dispatcher reads the ledger again
after `MAX_AGE`, and under each new lease.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_stack.domain.moments import has_passed

MAX_AGE = timedelta(seconds=30)
"""Each time costs nine reads: 0.10 USD a month at twice a minute, 1.50 USD with every cycle of two seconds."""


@dataclass(slots=True, kw_only=True)
class EmptyLedgerCache:
    """One process's knowledge, shared by `recover`, which reads the ledger, and `record`, which records runs."""

    _empty_at: tuple[int, datetime] | None = field(default=None, init=False)

    def is_valid(self, fence: int, now: datetime) -> bool:
        """Whether the ledger is known to be empty under this lease."""
        if self._empty_at is None or self._empty_at[0] != fence:
            return False
        return not has_passed(MAX_AGE, self._empty_at[1], now)

    def mark_empty(self, fence: int, now: datetime) -> None:
        """A read that began at that time, under that lease, showed nothing."""
        self._empty_at = (fence, now)

    def invalidate(self) -> None:
        """Forget it before recording runs; the next read shows whether the write succeeded."""
        self._empty_at = None
