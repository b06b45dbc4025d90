"""How many standby VMs are wanted when, and for how long one is asked for."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_stack.domain.standby_schedule import Standby, Window

BERLIN, UTC_ZONE = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")
WEEK = frozenset(range(7))
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def window(begin: str, end: str, hot: int = 10, days: frozenset[int] = WEEK, zone: ZoneInfo = BERLIN) -> Window:
    closes = None if end == "24:00" else time.fromisoformat(end)
    return Window(days=days, begin=time.fromisoformat(begin), end=closes, timezone=zone, hot=hot)


def standby(*windows: Window, hot: int = 2, minutes: int = 240) -> Standby:
    return Standby(hot=hot, max_age=timedelta(minutes=minutes), schedule=windows)


def local(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("at", "wanted"),
    [
        ("2026-11-26 07:59:59", 2),
        ("2026-11-26 08:00", 10),
        ("2026-11-26 18:59:59", 10),
        ("2026-11-26 19:00", 2),
        ("2026-11-28 12:00", 2),  # a Saturday
    ],
)
def test_a_window_is_open_on_its_days_from_its_begin_to_before_its_end(at: str, wanted: int) -> None:
    assert standby(window("08:00", "19:00", days=frozenset(range(5)))).wanted(local(at)) == wanted


@pytest.mark.parametrize(
    ("at", "wanted"), [("2026-11-27 23:00", 10), ("2026-11-28 05:59", 10), ("2026-11-28 06:00", 2)]
)
def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins(at: str, wanted: int) -> None:
    friday = window("22:00", "06:00", days=frozenset({4}))
    assert standby(friday).wanted(local(at)) == wanted
    assert standby(friday).wanted(local("2026-11-27 05:00")) == 2, "Thursday's is none"


def test_a_whole_day_ends_at_its_midnight() -> None:
    sunday = standby(window("00:00", "24:00", hot=0, days=frozenset({6})))
    assert [sunday.wanted(local(f"2026-11-{at}")) for at in ("28 23:59", "29 00:00", "29 23:59", "30 00:00")] == [
        2,
        0,
        0,
        2,
    ]


def test_the_first_open_window_decides_so_a_later_one_cannot_raise_what_it_lowers() -> None:
    both = standby(window("12:00", "13:00", hot=1), window("08:00", "19:00", hot=10))
    assert both.wanted(local("2026-11-26 12:30")) == 1
    assert both.wanted(local("2026-11-26 13:30")) == 10


def test_a_window_follows_the_clock_when_it_changes() -> None:
    office = standby(window("08:00", "19:00"))
    assert office.wanted(datetime(2026, 3, 27, 6, 30, tzinfo=UTC)) == 2  # 07:30 in winter
    assert office.wanted(datetime(2026, 3, 30, 6, 30, tzinfo=UTC)) == 10  # 08:30 in summer


def test_a_night_of_twenty_five_hours_has_its_repeated_hour_in_the_window() -> None:
    night = standby(window("01:00", "02:30"))
    assert night.wanted(local("2026-10-25 02:15", fold=0)) == 10
    assert night.wanted(local("2026-10-25 02:29", fold=1)) == 10
    assert night.wanted(local("2026-10-25 02:30", fold=1)) == 2


def test_a_window_in_the_hour_that_is_left_out_is_as_long_as_ever() -> None:
    lost = standby(window("02:15", "02:45"))
    minutes = [datetime(2026, 3, 29, 0, 0, tzinfo=UTC) + MINUTE * n for n in range(180)]
    assert sum(lost.wanted(minute) == 10 for minute in minutes) == 30


@pytest.mark.parametrize(
    ("begin", "end", "minutes"),
    [
        ("02:00", "03:00", 60),
        ("02:30", "03:15", 45),
        ("02:30", "03:31", 61),
        ("02:00", "04:00", 60),  # the clock shows its second hour only
        ("01:30", "02:30", 60),
        ("01:45", "03:05", 20),  # both of its times are there
    ],
)
def test_a_change_of_the_clock_leaves_no_window_out(begin: str, end: str, minutes: int) -> None:
    night = [datetime(2026, 3, 28, 23, 0, tzinfo=UTC) + MINUTE * n for n in range(300)]
    assert sum(standby(window(begin, end)).wanted(minute) == 10 for minute in night) == minutes


def test_a_day_whose_midnight_is_left_out_ends_at_its_next_midnight() -> None:
    cairo = ZoneInfo("Africa/Cairo")  # 00:00 is 01:00 there on 24 April 2026
    friday = standby(window("00:00", "24:00", days=frozenset({4}), zone=cairo))
    edges = [local("2026-04-23 23:59", cairo), local("2026-04-24 01:00", cairo), local("2026-04-25 00:00", cairo)]
    assert [friday.wanted(at) for at in edges] == [2, 10, 2]


def test_the_most_that_is_wanted_for_a_time_is_that_of_a_window_within_it_too() -> None:
    short, noon = standby(window("12:10", "12:20")), local("2026-11-26 12:00")
    assert [short.most_wanted(noon, noon + MINUTE * minutes) for minutes in (9, 10, 30)] == [2, 10, 10]
    assert short.needed_from(1, noon, noon + HOUR) == noon
    assert short.needed_from(2, noon, noon + HOUR) == noon + 10 * MINUTE


def test_a_hold_ends_with_the_window_that_the_vm_is_for_and_others_are_as_old_as_they_may_be() -> None:
    office, now = standby(window("08:00", "19:00"), minutes=1000), local("2026-11-26 17:00")
    assert office.hold(1, now, 0.5) == timedelta(minutes=1000)
    assert office.hold(2, now, 0.5) == 2 * HOUR


def test_windows_that_follow_each_other_hold_a_vm_through_both() -> None:
    now = local("2026-11-26 17:00")
    pair = standby(window("08:00", "18:00"), window("18:00", "20:00", hot=5), minutes=600)
    assert pair.hold(4, now, 0.5) == 3 * HOUR
    assert pair.hold(5, now, 0.5) == HOUR


@given(st.floats(0, 1, exclude_max=True))
def test_the_greatest_age_varies_by_a_fifth_and_never_more(fraction: float) -> None:
    hold = standby(minutes=100).hold(0, datetime(2026, 11, 26, tzinfo=UTC), fraction)
    assert 80 * MINUTE <= hold <= 120 * MINUTE


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  (given a zone there)
    st.times(),
    st.times(),
    st.integers(0, 12),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
)
def test_no_hold_is_longer_than_its_vm_is_wanted(now: datetime, begin: time, end: time, place: int, zone: str) -> None:
    moments = begin.replace(second=0, microsecond=0), end.replace(second=0, microsecond=0)
    one = standby(Window(days=WEEK, begin=moments[0], end=moments[1], timezone=ZoneInfo(zone), hot=10), minutes=600)
    if one.wanted(now) <= place:
        return
    until = now + one.hold(place, now, 0.5)
    step = (until - now) / 20
    assert all(one.wanted(now + step * n) > place for n in range(20))
    assert one.wanted(until) <= place or until - now == timedelta(minutes=600)
