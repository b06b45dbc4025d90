"""Lease time: what has passed since a process last counted, where no other process counted in between.

A function's processes take turns, and each would count the same minute otherwise.
"""

from dataclasses import dataclass, field
from datetime import timedelta

NOTHING = timedelta()
LONGEST_GAP = timedelta(minutes=2)
"""Between two invocations of a schedule that fires each minute, anywhere in it. In a longer one a clock was set, or the
function did not run; what VMs cost then is not known."""


@dataclass(slots=True, kw_only=True)
class LeaseTime:
    """Counts from cycle to cycle of one lease, and of the next one where this process has that, too.

    Fencing numbers grow by one, so nobody counted in between. Under any other lease another process has counted.
    """

    _fence: int | None = field(default=None, init=False)
    _counted_until: timedelta = field(default=NOTHING, init=False)

    def passed(self, *, fence: int, began: timedelta) -> timedelta:
        """The time since the last call, up to this cycle.

        Args:
            began: when the cycle began, by the monotonic clock.
        """
        since, before = began - self._counted_until, self._fence
        self._fence, self._counted_until = fence, began
        if before is None or fence not in {before, before + 1}:
            return NOTHING
        return since if fence == before else min(since, LONGEST_GAP)
