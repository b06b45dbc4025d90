"""Moments that a process noted by the clock of the machine, which may be set back.

Then a moment lies in the future. What is done now and then counts as due, because otherwise nothing would be done until
the clock has caught up. Where a port `Clock` is at hand, its monotonic clock is the better choice.
"""

from datetime import datetime, timedelta


def has_passed(duration: timedelta, since: datetime | None, now: datetime) -> bool:
    """Whether that time has passed since then; also if nothing was noted, and if the moment lies in the future."""
    return since is None or not timedelta() <= now - since < duration


def is_due(at: datetime | None, now: datetime, *, longest: timedelta) -> bool:
    """Whether the moment has come; also if nothing was noted, and if it is farther away than the longest pause."""
    return at is None or not timedelta() < at - now <= longest
