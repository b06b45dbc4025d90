"""Time of a simulation: it stands still until it is moved. Nothing of the product is imported here."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


class VirtualClock:
    """A clock that stands still; whoever sleeps moves it."""

    def __init__(self, start: datetime = EPOCH) -> None:
        self._now = start
        self._wrong_by = timedelta()

    def now(self) -> datetime:
        """See the port."""
        return self._now + self._wrong_by

    def set_back(self, duration: timedelta) -> None:
        """The machine corrects its clock. No time passes, and the monotonic clock goes on."""
        self._wrong_by -= duration

    def monotonic(self) -> timedelta:
        """See the port."""
        return self._now - EPOCH

    def sleep(self, duration: timedelta) -> None:
        """See the port."""
        self._now += max(timedelta(), duration)


class FixedDeadline:
    """An invocation with that much time left, always."""

    def __init__(self, left: timedelta = timedelta(seconds=60)) -> None:
        self._left = left

    def left(self) -> timedelta:
        """See the port."""
        return self._left
