"""How fast DynamoDB takes writes: a bucket for each partition, and the conflicts of those who write at once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

WRITES_PER_SECOND = 1_000.0
"""Write units a partition takes. Source: DynamoDB's limits."""

UNITS_OF_A_TRANSACTION = 2
"""Write units of each item up to a kilobyte inside a transaction. Source: DynamoDB's read and write units."""


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
    conflicts: Callable[[], bool] = lambda: False
    turned_away: int = 0
    written: int = 0
    _buckets: dict[str, tuple[float, datetime]] = field(default_factory=dict)

    def take(self, partitions: tuple[str, ...]) -> bool:
        """Whether all of these partitions take a write of a transaction now; nothing is taken if not."""
        now = self.now()
        left: dict[str, float] = {}
        for partition in partitions:
            units, since = self._buckets.get(partition, (self.per_second, now))
            grown = min(self.per_second, units + (now - since).total_seconds() * self.per_second)
            left[partition] = left.get(partition, grown) - UNITS_OF_A_TRANSACTION
        if min(left.values()) < 0 or self.conflicts():
            self.turned_away += 1
            return False
        self._buckets |= {partition: (units, now) for partition, units in left.items()}
        self.written += UNITS_OF_A_TRANSACTION * len(partitions)
        return True
