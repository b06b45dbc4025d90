"""A stack with standby VMs is removed while its functions are at work: none stays, and none comes afterwards."""

from datetime import timedelta
from typing import Any

import pytest

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.ec2 import Ec2Fleet, errors
from agent_stack.adapters.ec2.oddities import Oddities
from agent_stack.adapters.ec2.requests import LaunchTemplate
from agent_stack.adapters.ec2.subnets import Subnets
from agent_stack.removal.terminate_all import TerminateAll
from tests.scenario.standing_by import READY_SOON, SOON, World, document
from tests.simulator.identity import SeededIds
from tests.simulator.memory import MemoryLease
from tests.simulator.simulation.direct import DirectClient
from tests.simulator.simulation.nature import CLASSES_PARAMETER


class Invocation:
    """The deadline of an invocation that begins now."""

    def __init__(self, world: World) -> None:
        self._clock = world.kernel
        self._ends_at = world.kernel.monotonic() + timedelta(seconds=90)

    def left(self) -> timedelta:
        return max(timedelta(), self._ends_at - self._clock.monotonic())


def removal(world: World) -> TerminateAll:
    """What CloudFormation's request lets the tracker do."""
    client: Any = DirectClient(world.ec2)
    clock, ids, deadline, settings = world.kernel, SeededIds(), Invocation(world), world.settings
    calls = AwsCalls(
        clock=clock, ids=ids, deadline=deadline, throttles=errors.NOTHING_DONE, server_errors=errors.SERVER
    )
    fleet = Ec2Fleet(
        client=lambda: client,
        calls=calls,
        clock=clock,
        deployment=settings.deployment,
        arn_prefix=settings.instance_arn_prefix,
        template=LaunchTemplate(template_id=settings.launch_template_id, version=settings.launch_template_version),
        subnets=Subnets(
            client=lambda: client,
            calls=calls,
            clock=clock,
            telemetry=world.telemetry,
            subnet_ids=settings.subnet_ids,
        ),
        policy=settings.launch_policy,
        oddities=Oddities(telemetry=world.telemetry),
    )
    world.laws.removed = True
    leases = [MemoryLease(store=world.store, function=function) for function in ("dispatcher", "tracker")]
    return TerminateAll(fleet=fleet, leases=leases, clock=clock, deadline=deadline, ids=ids, telemetry=world.telemetry)


@pytest.mark.parametrize("seconds", [0.3, 1.0, 1.7, 3.0])
def test_a_removal_ends_idle_taken_and_booting_standby_vms_and_none_takes_their_place(seconds: float) -> None:
    """A job has just taken one, so a request for another one may be on its way, and some are being closed."""
    world = World(document(hot=3, shape=READY_SOON), seconds=SOON)
    assert len(world.idle()) == 3
    world.push(1, seconds=300)
    world.run(seconds)
    world.parameters.values[CLASSES_PARAMETER] = document(hot=5, shape=READY_SOON)
    assert removal(world)() == ()
    assert world.up() == []
    removed_at = world.kernel.now()
    world.run(180)  # the schedules of a real removal have gone; here they fire on
    assert world.fleets(removed_at) == []
    assert world.up() + world.up(standby=False) == []


def test_a_removal_right_after_a_launch_ends_the_vms_that_are_not_listed_yet() -> None:
    world = World(document(hot=3, shape=READY_SOON), seconds=0)
    while not world.fleets(world.kernel.now() - timedelta(hours=1)):
        world.run(0.1)
    assert removal(world)() == ()
    world.run(60)
    assert world.up() == []
    assert len(world.fleets(world.kernel.now() - timedelta(hours=1))) == 1
