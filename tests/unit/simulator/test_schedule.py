"""A schedule fires once in each period, anywhere in it, and the same seed fires at the same moments."""

import threading
from itertools import islice
from typing import cast

import pytest

from tests.simulator.lambda_host import Completed, LambdaHost, Schedule
from tests.simulator.lambda_host.moments import ANYWHERE, PUNCTUAL, moments


def first(count: int, seed: str = "seed", period: float = 60, jitter: tuple[float, float] = ANYWHERE) -> list[float]:
    return list(islice(moments(seed, period_seconds=period, jitter=jitter), count))


def test_it_fires_once_in_each_minute() -> None:
    assert [int(moment // 60) for moment in first(1_000)] == list(range(1_000))


def test_it_fires_anywhere_in_its_minute() -> None:
    seconds = [moment % 60 for moment in first(10_000)]
    assert min(seconds) < 1
    assert 58 < max(seconds) <= 59
    gaps = [after - before for before, after in zip(first(10_000), first(10_000)[1:], strict=False)]
    assert min(gaps) < 5
    assert max(gaps) > 110


def test_the_same_seed_fires_at_the_same_moments_and_another_at_others() -> None:
    assert first(10, "a") == first(10, "a")
    assert first(10, "a") != first(10, "b")


@pytest.mark.parametrize("period", [5.0, 60.0])
def test_a_schedule_that_is_played_faster_is_late_in_proportion(period: float) -> None:
    assert first(100, period=period) == pytest.approx([moment * period / 60 for moment in first(100)])


def test_a_punctual_schedule_fires_at_the_beginning() -> None:
    assert first(3, jitter=PUNCTUAL) == [0, 60, 120]


class Host:
    """Counts its invocations, and answers none of them before the third has come."""

    def __init__(self) -> None:
        self.third = threading.Event()
        self.events: list[object] = []

    def invoke(self, event: object) -> Completed:
        self.events.append(event)
        if len(self.events) >= 3:
            self.third.set()
        self.third.wait()
        return Completed()


def test_it_fires_whether_or_not_the_last_invocation_has_ended() -> None:
    host = Host()
    schedule = Schedule(cast("LambdaHost", host), period_seconds=0.01, seed="seed")
    assert host.third.wait(10)
    schedule.close()
