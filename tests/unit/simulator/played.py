"""A pipeline file, played in the whole stack on the virtual clock."""

from collections.abc import Mapping
from datetime import timedelta

from tests.simulator.demo.pipeline import Pipeline
from tests.simulator.demo.play import Play, with_environment
from tests.simulator.simulation.nature import CLASSES, QUICK, Nature, plain_ec2
from tests.simulator.simulation.simulation import Simulation

HOUR = timedelta(hours=1)


def world(classes: str = CLASSES) -> Simulation:
    """The stack, at work."""
    ec2 = plain_ec2(pending=(timedelta(seconds=3), timedelta(seconds=3)))
    simulation = Simulation(seed=1, nature=Nature(ec2=ec2), settings={**QUICK, "MAX_INSTANCES": "50"}, classes=classes)
    simulation.run(65)  # both functions run
    return simulation


def played(
    pipeline: Pipeline, exits: Mapping[str, str] | None = None, *, seconds: str = "3", classes: str = CLASSES
) -> tuple[Play, Simulation]:
    """A build until nothing can change any more.

    Args:
        exits: the exit statuses of a job's attempts, by its label.
    """
    simulation = world(classes)
    steps = with_environment(
        pipeline.steps,
        lambda one: {"SIM_SECONDS": seconds, "SIM_EXIT": (exits or {}).get(one.step.shown_label, "0")},
    )
    play = Play(buildkite=simulation.buildkite, steps=steps, env=pipeline.env)
    play.begin()
    until = simulation.kernel.now() + HOUR
    while not play.over and simulation.kernel.now() < until:
        simulation.run(2)
        play.act(simulation.kernel.now())
    return play, simulation
