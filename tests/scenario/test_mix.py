"""A spot class with a share of on-demand that also keeps VMs standing by: the mix holds at each second."""

from math import ceil

from agent_stack.adapters.ec2.requests import CLASS_TAG
from agent_stack.domain.classes import base_name
from agent_stack.domain.identifiers import ClassName
from tests.scenario.standing_by import READY_SOON, SOON, World, document
from tests.simulator.cloud.instance import UP

BASE, PERCENT = 2, 25
MIX = {"market": "spot", "on_demand_base": BASE, "on_demand_percent": PERCENT}


def up_for_jobs(world: World) -> list[str]:
    """How the VMs of the class that were launched because of jobs, and are up, were bought."""
    stood_by = {one.instance_id for one in world.up()}
    return [
        one.capacity_type
        for one in world.ec2.instances()
        if one.state in UP
        and one.instance_id not in stood_by
        and base_name(ClassName(one.tags.get(CLASS_TAG, ""))) == "default"
    ]


def test_the_mix_holds_among_the_vms_that_were_launched_for_jobs_and_standby_vms_do_not_count() -> None:
    world = World(document(hot=3, shape={**READY_SOON, **MIX}), seconds=SOON)
    assert [one.capacity_type for one in world.idle()] == ["spot"] * 3
    world.push(12, seconds=40)
    most = 0
    for _ in range(30):
        world.run(1)
        bought = up_for_jobs(world)
        most = max(most, len(bought))
        due = min(BASE, len(bought)) + ceil(max(0, len(bought) - BASE) * PERCENT / 100)
        assert bought.count("on-demand") >= due, "no spot VM comes before its part of on-demand"
    assert most == 9, "three jobs took standby VMs, which do not count"
    assert up_for_jobs(world).count("on-demand") == BASE + ceil((9 - BASE) * PERCENT / 100)
