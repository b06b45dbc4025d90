"""The world on a virtual clock: schedules fire anywhere in their minute, cycles that outlive their lease overlap."""

from contextlib import nullcontext
from datetime import timedelta

import httpx
import pytest

from tests.simulator.buildkite import Operation, Settings
from tests.simulator.clock import EPOCH
from tests.simulator.lambda_host import PUNCTUAL
from tests.simulator.simulation.nature import Nature, plain_ec2
from tests.simulator.simulation.scenario import play
from tests.simulator.simulation.simulation import Simulation


def fired(simulation: Simulation) -> list[float]:
    return [float(line.split()[0]) for line in simulation.kernel.trace if line.endswith("dispatcher is invoked")]


def test_a_schedule_fires_once_in_each_minute_and_anywhere_in_it() -> None:
    simulation = Simulation(seed=3, nature=Nature(ec2=plain_ec2(), only=("dispatcher",)))
    simulation.run(600)
    assert [int(at // 60) for at in fired(simulation)] == list(range(10))
    assert len({round(at % 60) for at in fired(simulation)}) > 5
    again = Simulation(seed=3, nature=Nature(ec2=plain_ec2(), only=("dispatcher",)))
    again.run(600)
    assert fired(again) == fired(simulation)


def test_a_scenario_may_ask_for_a_punctual_schedule() -> None:
    simulation = Simulation(seed=3, nature=Nature(ec2=plain_ec2(), only=("dispatcher",), jitter_seconds=PUNCTUAL))
    simulation.run(130)
    assert fired(simulation) == [0, 60, 120]


def slow_world(seconds: float) -> Simulation:
    """One in which a cycle reads a listing that takes so long, while others are woken."""
    simulation = Simulation(seed=1, nature=Nature(ec2=plain_ec2(), only=("dispatcher",), jitter_seconds=PUNCTUAL))
    simulation.run(20)
    simulation.buildkite.faults.delay_answer(Operation.LIST_SCHEDULED_JOBS, seconds=seconds, times=3)
    for second in range(0, 60, 2):
        simulation.wake("dispatcher", float(second))
    simulation.run(60)
    return simulation


@pytest.mark.parametrize(("seconds", "overlap"), [(0.5, False), (7.9, True)])
def test_cycles_overlap_when_they_outlive_their_lease(seconds: float, overlap: bool) -> None:  # noqa: FBT001  (a parameter of the table above)
    assert (slow_world(seconds).overlaps > 0) == overlap


@pytest.mark.parametrize(("late", "waited"), [(3.0, 3.0), (60.0, 8.0)])
def test_a_late_answer_takes_its_time_or_the_clients_patience(late: float, waited: float) -> None:
    simulation = Simulation(seed=1, nature=Nature(ec2=plain_ec2(), only=()))
    simulation.buildkite.faults.delay_answer(Operation.TOKEN_IDENTITY, seconds=late)
    with nullcontext() if late < waited + 1 else pytest.raises(httpx.ReadTimeout):
        simulation.http.get("/token", timeout=8.0)
    assert simulation.kernel.now() - EPOCH == timedelta(seconds=waited)


def test_a_seed_is_played_with_the_buildkite_that_is_asked_for() -> None:
    assert play(3, buildkite=Settings(not_found_says_what=False)).trace
