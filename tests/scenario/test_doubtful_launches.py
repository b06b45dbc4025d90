"""Launches whose answers prove nothing: their VMs are found by the tag, and none is launched beyond the maxima."""

import pytest

from tests.scenario.test_dispatcher_faults import ends, push, world

MOST = 20
"""`MaxInstances` of these worlds."""


@pytest.mark.parametrize("times", [1, 3])
def test_a_fleet_that_launched_and_answers_nothing_is_found_by_its_tag(times: int) -> None:
    simulation = world()
    simulation.ec2.faults.launch_and_say_nothing(times=times)
    push(simulation, 8)
    simulation.run(120)
    assert ends(simulation) == {"finished 0": 8}
    assert len(simulation.ec2.instances()) == 8


def test_while_every_fleet_answers_nothing_no_more_is_launched_than_is_wanted() -> None:
    simulation = world()
    simulation.ec2.faults.launch_and_say_nothing(times=1_000)
    push(simulation, 8)
    for _ in range(60):
        simulation.run(1)
        assert sum(instance.state in {"pending", "running"} for instance in simulation.ec2.instances()) <= 8
    simulation.run(60)
    assert ends(simulation) == {"finished 0": 8}


@pytest.mark.parametrize("code", ["IdempotentParameterMismatch", "UnauthorizedOperation"])
def test_a_refused_repeat_of_a_launch_whose_answer_was_lost_launches_nothing_again(code: str) -> None:
    simulation = world()
    push(simulation, 8)
    faults = simulation.ec2.faults
    faults.lose_answer("CreateFleet")
    hit = faults.on_hit

    def then_refuse(what: str) -> None:
        hit(what)
        if what == "answer lost":
            faults.fail("CreateFleet", code, times=3)

    faults.on_hit = then_refuse
    simulation.run(120)
    assert ends(simulation) == {"finished 0": 8}
    assert len(simulation.ec2.instances()) == 8 <= MOST
