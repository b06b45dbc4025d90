"""Backoff: requests that fail as a whole are repeated ever more slowly, for each class and capacity type of its own.

Nobody documents why EC2 refuses a whole request for minutes; so no job is failed for it before its launch deadline, and
classes whose requests work are not delayed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from agent_stack.domain.classes import base_name
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.states import CapacityType

CALLS_OF_A_LAUNCH = 2
"""CreateFleet calls that one launch makes at most: a call that fails is repeated once, with the same token."""

CALLS_PER_MINUTE = 6
"""CreateFleet calls a minute for a class in which nothing works, of both capacity types."""

CALLS_PER_MINUTE_OF_ALL = 30
"""The same for all classes in which nothing works, together."""

FALL_BACK_AFTER = 2
"""Launches in a row that fail as a whole before a class that may falls back to on-demand."""

FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(seconds=60)
SHORTEST_LATER_PAUSE = timedelta(seconds=20)
ALARM_AFTER = timedelta(minutes=5)
MAX_BACKOFFS = 64
MINUTE = timedelta(minutes=1)
_FORGOTTEN_AFTER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """What failed lately, of one class and capacity type.

    Attributes:
        failures: launches in a row that failed as a whole.
        since: the first of them.
        until: no launch before then.
        recent: CreateFleet calls of the last minute that brought nothing, with their moments.
        suspect: the latest failure may be the account's (`Effect.ACCOUNT_SUSPECTED`, or IAM).
    """

    failures: int = 0
    since: datetime
    until: datetime
    recent: tuple[tuple[datetime, int], ...] = ()
    message: str = ""
    suspect: bool = False

    def calls(self, now: datetime) -> int:
        """Calls of the last minute that brought nothing."""
        return sum(count for at, count in self.recent if now - at < MINUTE)

    def fruitless(self, now: datetime, *, calls: int) -> Self:
        """So many more calls brought no VM."""
        recent = tuple((at, count) for at, count in self.recent if now - at < MINUTE)
        return replace(self, recent=(*recent, (now, calls)))

    def failed(self, message: str, now: datetime, jitter: float, *, suspect: bool, failures: int = 1) -> Self:
        """One more launch failed as a whole.

        Args:
            jitter: a number in [0, 1).
            failures: how many it counts for.
        """
        count = self.failures + failures
        if count < FALL_BACK_AFTER:
            pause = FIRST_PAUSE * (1 + jitter)
        else:
            longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(count, 10))
            pause = SHORTEST_LATER_PAUSE + longest * jitter
        since = self.since if self.failures else now
        return replace(self, failures=count, since=since, until=now + pause, message=message, suspect=suspect)


def backoff_key(name: ClassName, capacity_type: CapacityType) -> str:
    """By the operator's class, because jobs may invent the rest of a name."""
    return f"{base_name(name)}|{capacity_type}"


def bounded(backoffs: Mapping[str, Backoff], now: datetime) -> Mapping[str, Backoff]:
    """Those that still mean something; the latest of them when they are too many."""
    kept = {
        key: one
        for key, one in backoffs.items()
        if one.calls(now) or (one.failures and now - one.until < _FORGOTTEN_AFTER)
    }
    if len(kept) <= MAX_BACKOFFS:
        return kept
    return dict(sorted(kept.items(), key=lambda item: item[1].until)[-MAX_BACKOFFS:])
