"""How fast DynamoDB takes writes: a bucket for each partition and table; and conflicts of those who write at once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

WRITES_PER_SECOND = 1_000.0
"""Write units a partition takes. Source: DynamoDB's limits."""

TABLE_WRITES_PER_SECOND = 4_000.0
"""Write units a new on-demand table takes in all; one that took more before takes more. Source: DynamoDB's on-demand
capacity mode."""

UNITS_OF_A_TRANSACTION = 2
"""Write units of each item up to a kilobyte inside a transaction. Source: DynamoDB's read and write units."""

_TABLES = frozenset({"ledger table", "mailbox table"})


def _table(partition: str) -> str:
    return "mailbox table" if partition.startswith("mailbox#") else "ledger table"


@dataclass(slots=True, kw_only=True)
class Rates:
    """Says of each write whether it is taken now.

    Attributes:
        conflicts: whether the next transaction meets another; never by default.
        turned_away: writes that were not taken at once.
        written: write units taken.
    """

    now: Callable[[], datetime]
    per_second: float = WRITES_PER_SECOND
    table_per_second: float = TABLE_WRITES_PER_SECOND
    conflicts: Callable[[], bool] = lambda: False
    turned_away: int = 0
    written: int = 0
    _buckets: dict[str, tuple[float, datetime]] = field(default_factory=dict)

    def take(self, partitions: tuple[str, ...]) -> bool:
        """Whether all of these partitions take a write of a transaction now; nothing is taken if not."""
        now = self.now()
        left: dict[str, float] = {}
        for bucket in (*partitions, *map(_table, partitions)):
            most = self.table_per_second if bucket in _TABLES else self.per_second
            units, since = self._buckets.get(bucket, (most, now))
            grown = min(most, units + (now - since).total_seconds() * most)
            left[bucket] = left.get(bucket, grown) - UNITS_OF_A_TRANSACTION
        if min(left.values()) < 0 or self.conflicts():
            self.turned_away += 1
            return False
        self._buckets |= {bucket: (units, now) for bucket, units in left.items()}
        self.written += UNITS_OF_A_TRANSACTION * len(partitions)
        return True
