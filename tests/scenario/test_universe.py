"""The stack on a virtual clock. scripts/simulate tries many more seeds, and every way to die."""

import pytest

from tests.simulator.universe.crashes import calls_of_the_pipeline, ways
from tests.simulator.universe.process import Fate
from tests.simulator.universe.scenario import PIPELINE_SECONDS, die_at, play, undisturbed

REGRESSIONS = (
    365,  # VMs that nobody would be bound to any more were not counted before a launch
    378,  # VMs that EC2 did not show yet were not counted either
    397,  # the same after a refused CreateFleet
    290,  # launched while EC2 did not say what is up
)
"""Seeds that once broke a promise, and why."""


def test_undisturbed_the_pipeline_ends_as_it_should() -> None:
    universe = undisturbed()
    universe.run(PIPELINE_SECONDS)
    universe.settle(60)
    ends = {job.key: (str(job.state), job.exit_status) for job in universe.buildkite.jobs()}
    assert ends == {
        "hello": ("finished", 0),
        "tests": ("finished", 0),
        "failing": ("finished", 3),
        "cancelled-early": ("canceled", None),
        "cancelled-late": ("canceled", -1),
        "unknown-class": ("finished", -1),
        "long": ("finished", 0),
    }
    assert universe.buildkite.violations() == ()
    assert sum(call.action == "CreateFleet" for call in universe.ec2.calls()) == 1


@pytest.mark.parametrize("seed", [*range(12), *REGRESSIONS])
def test_no_promise_is_broken(seed: int) -> None:
    assert play(seed).broken is None


def test_the_same_seed_gives_the_same_trace() -> None:
    first, second = play(7), play(7)
    assert first.trace == second.trace
    assert first.crashes + first.faults > 0


@pytest.mark.parametrize("method", ["fleet.launch", "ledger.bind", "stacks.finish", "mailbox.take_baton", "ledger.end"])
def test_a_death_at_an_effect_costs_time_and_nothing_else(method: str) -> None:
    points = calls_of_the_pipeline()
    number = next(number for number, point in enumerate(points) if point.endswith(method))
    for fate in ways(points[number]):
        report = die_at(number, fate, points[number])
        assert report.broken is None
        assert report.crashes == (fate in {Fate.DIES_BEFORE, Fate.DIES_AFTER})
