"""Standby trouble: what keeps a class from having standby VMs for a while.

A standby VM that does not take its job costs the job the time-out and a second boot, so several in a row suspend the
class's standby VMs. VMs that end before they are prepared cost money and help no job, so their class waits longer after
each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

from agent_stack.domain.identifiers import ClassName, InstanceId
from agent_stack.domain.moments import is_due

MISSES = 3
"""In a row. One or two happen where EC2 loses hosts or takes spot VMs back."""

SUSPENDED_FOR = timedelta(minutes=15)
UNPREPARED = 3
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(minutes=15)
MAX_COUNTED = 20
"""VMs remembered as counted: more than a class loses within the hour for which EC2 shows them."""

MAX_CLASSES = 64
FORGOTTEN_AFTER = timedelta(hours=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One class's trouble.

    Attributes:
        misses: standby VMs in a row that did not take their job.
        missed_at: when the latest run came back from one; later ones are new.
        suspended_until: the class has no standby VMs before then.
        unprepared: VMs in a row that ended before they were prepared.
        retry_at: nothing is launched to stand by before then.
        reason: why, for the operator.
        counted: VMs that are counted already.
        at: when anything of this changed last.
    """

    at: datetime
    misses: int = 0
    missed_at: datetime | None = None
    suspended_until: datetime | None = None
    unprepared: int = 0
    retry_at: datetime | None = None
    reason: str = ""
    counted: tuple[InstanceId, ...] = field(default=())

    def missed(self, count: int, *, latest: datetime, now: datetime) -> Self:
        """So many more standby VMs did not take their jobs."""
        misses = self.misses + count
        if misses < MISSES:
            return replace(self, misses=misses, missed_at=latest, at=now)
        reason = f"{misses} standby VMs in a row did not take their jobs"
        return replace(self, misses=0, missed_at=latest, suspended_until=now + SUSPENDED_FOR, reason=reason, at=now)

    def hit(self, now: datetime) -> Self:
        """A standby VM took its job."""
        return replace(self, misses=0, at=now) if self.misses else self

    def ended(self, ids: Sequence[InstanceId], words: str, now: datetime) -> Self:
        """These VMs ended before they were prepared."""
        new = [one for one in ids if one not in self.counted]
        if not new:
            return self
        count = self.unprepared + len(new)
        counted = (*self.counted, *new)[-MAX_COUNTED:]
        if count < UNPREPARED:
            return replace(self, unprepared=count, counted=counted, at=now)
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(count - UNPREPARED, 10))
        return replace(self, unprepared=count, counted=counted, retry_at=now + pause, reason=words, at=now)

    def prepared(self, now: datetime) -> Self:
        """A VM stands by for longer than its preparation may take."""
        return replace(self, unprepared=0, retry_at=None, at=now) if self.unprepared else self

    def is_suspended(self, now: datetime) -> bool:
        """Whether the class has no standby VMs for now."""
        return not is_due(self.suspended_until, now, longest=SUSPENDED_FOR)

    def may_launch(self, now: datetime) -> bool:
        """Whether a VM may be launched to stand by."""
        return not self.is_suspended(now) and is_due(self.retry_at, now, longest=LONGEST_PAUSE)


def current(troubles: Mapping[ClassName, Trouble], now: datetime) -> Mapping[ClassName, Trouble]:
    """Those that still mean something; the latest of them when they are too many."""
    kept = {name: one for name, one in troubles.items() if now - one.at < FORGOTTEN_AFTER}
    return dict(sorted(kept.items(), key=lambda item: item[1].at)[-MAX_CLASSES:])
