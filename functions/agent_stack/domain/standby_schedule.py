"""Standby schedule: how many standby VMs an operator wants of a class at a moment, and for how long.

Windows are in local time. A change of the clock moves them with it: a window never ends before its local end, and a
time that a change of the clock leaves out is taken as long after midnight as on other days. A window that begins
at such a time, and would lose more than half of itself, is as long as ever.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
JITTER = 0.2
"""Of the greatest age, in both directions, so that VMs of launches at one time do not end at one time. Those of one
launch do, because a hold is a tag of the launch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One window of a week.

    Attributes:
        days: the days on which it begins; 0 is Monday.
        begin, end: local times; an end that is not after the begin is on the next day. None is midnight at its end.
        hot: how many standby VMs are wanted while it is open, in place of the class's own number.
    """

    days: frozenset[int]
    begin: time
    end: time | None
    timezone: ZoneInfo
    hot: int

    def span(self, day: date) -> tuple[datetime, datetime] | None:
        """When it opens and closes, in UTC, if it begins on that local day."""
        if day.weekday() not in self.days:
            return None
        overnight = self.end is None or self.end <= self.begin
        closes = datetime.combine(day + DAY if overnight else day, self.end or time.min, self.timezone)
        opens = datetime.combine(day, self.begin, self.timezone)
        begin, length = opens.astimezone(UTC), closes - opens  # as the clock shows it on other days
        end = max(closes.replace(fold=0).astimezone(UTC), closes.replace(fold=1).astimezone(UTC))
        left_out = begin.astimezone(self.timezone).time() != self.begin
        return begin, begin + length if left_out and end - begin < length / 2 else end

    def spans(self, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Its spans that may touch that time."""
        day, last = since.astimezone(self.timezone).date() - DAY, until.astimezone(self.timezone).date()
        while day <= last:
            span = self.span(day)
            if span is not None and span[0] <= until and span[1] > since:
                yield span
            day += DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Standby:
    """What the operator wants of one class.

    Attributes:
        hot: how many standby VMs are wanted outside of all windows.
        max_age: how long one may stand by, on average.
        schedule: the first window that is open decides.
    """

    hot: int
    max_age: timedelta
    schedule: tuple[Window, ...] = field(default=())

    @property
    def least_age(self) -> timedelta:
        """How long a VM stands by at least, where no window ends earlier."""
        return self.max_age * (1 - JITTER)

    @property
    def greatest_age(self) -> timedelta:
        """How long a VM stands by at most, from when it is wanted."""
        return self.max_age * (1 + JITTER)

    def wanted(self, at: datetime) -> int:
        """How many standby VMs are wanted at that moment."""
        for window in self.schedule:
            if any(begin <= at < end for begin, end in window.spans(at, at)):
                return window.hot
        return self.hot

    def needed_until(self, place: int, since: datetime, at_most: datetime) -> datetime:
        """When a VM is not wanted any more that has so many others before it; `at_most` when it is wanted that long."""
        return next((edge for edge in self._edges(since, at_most) if self.wanted(edge) <= place), at_most)

    def most_wanted(self, since: datetime, until: datetime) -> int:
        """How many are wanted at that time at most, both moments included. A window may open and close in between."""
        return max(self.wanted(at) for at in (since, until, *self._edges(since, until)))

    def needed_from(self, place: int, since: datetime, until: datetime) -> datetime:
        """When a VM is wanted by then that has so many others before it; `until` when it is wanted then."""
        if self.wanted(since) > place:
            return since
        if self.wanted(until) > place:
            return until
        return next((edge for edge in self._edges(since, until) if self.wanted(edge) > place), until)

    def hold(self, place: int, now: datetime, fraction: float) -> timedelta:
        """How long a VM that is launched now may stand by.

        Args:
            place: how many others are wanted before it.
            fraction: a random number in [0, 1).
        """
        age = self.least_age + self.max_age * 2 * JITTER * fraction
        return self.needed_until(place, now, now + age) - now

    def _edges(self, since: datetime, until: datetime) -> list[datetime]:
        """The moments in between at which a window opens or closes."""
        spans = (span for window in self.schedule for span in window.spans(since, until))
        return sorted(edge for span in spans for edge in span if since < edge < until)
