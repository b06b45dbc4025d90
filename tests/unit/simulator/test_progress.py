"""Many worlds say how far they are."""

import io
from itertools import count

from tests.simulator.simulation.progress import shown
from tests.simulator.simulation.scenario import Report


def a_report(seed: int, broken: str | None = None) -> Report:
    return Report(
        seed=seed, steps=1, points=1, faults=0, crashes=0, settled_seconds=0.0, trace=("a line",), broken=broken
    )


def test_a_log_gets_a_line_each_half_minute_with_the_speed_and_what_is_broken() -> None:
    out, clock = io.StringIO(), count(step=5.0)  # each look at the clock is five seconds later
    reports = [a_report(seed, "I1: twice" if seed == 2 else None) for seed in range(12)]
    assert list(shown(reports, 12, out=out, now=lambda: next(clock))) == reports
    lines = out.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("3 of 12 worlds, ")
    assert lines[0].endswith("worlds a second, 1 broken")
