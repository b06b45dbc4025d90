"""The outcome of the main job on the virtual clock, and that it shows when a stage is gone.

scripts/without-each-stage tries every stage; here are one that something else could have made good, and the control.
"""

import pytest

from tests.simulator.simulation.outcome import stages, wrong


def test_with_every_stage_all_is_as_it_should_be() -> None:
    assert wrong() == ""


def test_the_stages_are_those_of_both_chains_in_order() -> None:
    names = stages()
    assert len(names) == len(set(names))
    assert names.index("Poll") < names.index("Launch") < names.index("Observe") < names.index("OrphanCleanup")


@pytest.mark.parametrize("stage", ["Terminate", "PublishWaitReasons"])
def test_a_stage_that_is_gone_is_missed(stage: str) -> None:
    assert wrong(stage) != ""
