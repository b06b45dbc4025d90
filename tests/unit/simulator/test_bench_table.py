"""The one table of `scripts/bench`: a missed goal is said, each guess is listed once, and growth is not flattered."""

import pytest

from tests.bench.growth import Grown
from tests.bench.rows import Guess, Row, at_most, printed
from tests.bench.table import grown


def a_size(jobs: int, seconds: float, *, bound: int | None = None, before: Grown | None = None) -> Grown:
    """So many jobs in so much time; CPU grows with jobs."""
    return Grown(
        jobs=jobs,
        bound=jobs if bound is None else bound,
        seconds=seconds,
        cpu_seconds=jobs / 1_000,
        turned_away=0,
        before=before,
    )


@pytest.mark.parametrize(("value", "verdict"), [(4.0, "PASS"), (5.0, "PASS"), (5.1, "MISSED")])
def test_a_row_says_whether_its_goal_is_met(value: float, verdict: str) -> None:
    (_, line) = printed([at_most("a start", value, "s", 5)])
    assert line.endswith(verdict)


def test_a_row_without_a_goal_says_nothing_of_one() -> None:
    (_, line) = printed([Row(measure="processes", value=42, unit="processes")])
    assert "PASS" not in line
    assert "MISSED" not in line


def test_a_guess_is_marked_in_each_row_and_listed_once() -> None:
    rows = [at_most("one", 1, "s", 5, Guess.CORE), at_most("two", 2, "s", 5, Guess.CORE, Guess.GROUP)]
    lines = list(printed(rows))
    assert " b" in lines[1]
    assert " bd" in lines[2]
    assert lines[4:] == [f"  b  {Guess.CORE}", f"  d  {Guess.GROUP}"]


def test_a_ratio_names_what_it_is_over() -> None:
    (_, line) = printed([Row(measure="asked", value=1, unit="s", ratio=(0.5, "the group"))])
    assert "0.50 of the group" in line


@pytest.mark.parametrize(("seconds", "missed"), [(54.0, False), (56.0, True)])
def test_five_times_the_jobs_may_take_five_and_a_half_times_as_long(seconds: float, *, missed: bool) -> None:
    less = a_size(10_000, 10.0)
    rows = list(grown([less, a_size(50_000, seconds, before=less)]))
    assert [row.missed for row in rows] == [False, False, missed, False]


def test_a_size_that_does_not_end_in_its_time_misses_each_of_its_goals() -> None:
    less = a_size(10_000, 10.0)
    rows = list(grown([less, a_size(50_000, 55.0, bound=49_000, before=less)]))
    assert [row.missed for row in rows][2:] == [True, True]
    assert "49,000 bound" in rows[2].measure


def test_a_size_of_which_nothing_was_bound_is_no_error() -> None:
    less = a_size(10_000, 10.0)
    rows = list(grown([less, a_size(50_000, 55.0, bound=0, before=less)]))
    assert all(row.missed for row in rows[2:])
