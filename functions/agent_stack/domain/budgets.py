"""What EC2 grants how fast: token buckets, as we believe them to be."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A token bucket as EC2 keeps one."""

    burst: float
    per_second: float


REQUESTS = Budget(burst=50, per_second=5)
"""CreateFleet requests. Source: the request throttling page of the EC2 developer guide."""

LOOK_AHEAD = timedelta(seconds=30)
"""Jobs are admitted that EC2's budget will grant within that time; more would only wait in our hands."""

BATCH_WINDOW = timedelta(seconds=5)
"""When jobs wait for EC2's budget anyway, this much of what it grants is asked for in one request, not one by one."""

SHORTEST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(seconds=30)
FORGIVEN_AFTER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """How full a bucket was at a moment."""

    tokens: float
    at: datetime

    def now(self, budget: Budget, now: datetime) -> float:
        """How full it is by now."""
        grown = max(0.0, (now - self.at).total_seconds()) * budget.per_second
        return min(budget.burst, self.tokens + grown)


def left(level: Level | None, budget: Budget, now: datetime) -> float:
    """How full a bucket is; full when nothing was ever taken."""
    return budget.burst if level is None else level.now(budget, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Nothing is asked of EC2 until then, after so many throttles in a row."""

    until: datetime
    throttles: int


def paused_again(before: Pause | None, now: datetime, jitter: float) -> Pause:
    """The pause after a throttle: longer each time.

    Args:
        jitter: a number in [0, 1), so that all who were throttled together do not come again together.
    """
    again = before is not None and now - before.until < FORGIVEN_AFTER
    throttles = before.throttles + 1 if before is not None and again else 1
    rest = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2**throttles) * jitter
    return Pause(until=now + max(SHORTEST_PAUSE, rest), throttles=throttles)
