"""What is left of a stack's VMs at its removal."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.ec2 import Ec2Fleet, errors
from agent_stack.adapters.ec2.oddities import Oddities
from agent_stack.adapters.ec2.requests import DEPLOYMENT_TAG, LaunchTemplate
from agent_stack.adapters.ec2.subnets import Subnets
from agent_stack.domain.errors import GiveUpError
from agent_stack.domain.identifiers import ClassName, IntentId
from agent_stack.domain.launching import Intent
from agent_stack.domain.policy import LaunchPolicy
from agent_stack.removal.terminate_all import HANDOVER_TIMEOUT, LATE_VM_WINDOW, RESERVE, TerminateAll
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.cloud import Ec2, LaunchTemplateData, Settings, Subnet
from tests.simulator.identity import SeededIds
from tests.simulator.memory import MemoryLease, MemoryLedger, Store
from tests.simulator.simulation.direct import DirectClient
from tests.simulator.telemetry import RecordedTelemetry

INVOCATION = timedelta(seconds=90)
SHIFT = timedelta(seconds=9)


class Falling(VirtualClock):
    """A clock that lets things happen at their time, and the deadline of an invocation that began with it."""

    def __init__(self) -> None:
        super().__init__()
        self.agenda: list[tuple[datetime, object]] = []
        self.ends_at = self.now() + INVOCATION

    def left(self) -> timedelta:
        return max(timedelta(), self.ends_at - self.now())

    def sleep(self, duration: timedelta) -> None:
        super().sleep(duration)
        for at, act in tuple(self.agenda):
            if at <= self.now() and callable(act):
                self.agenda.remove((at, act))
                act()


@dataclass
class World:
    """A deployment that is being removed."""

    clock: Falling
    ec2: Ec2
    store: Store
    telemetry: RecordedTelemetry
    clear: TerminateAll

    def vm(self, deployment: str = "stack") -> str:
        return self.ec2.launch_orphan(tags={DEPLOYMENT_TAG: deployment}, subnet_id="subnet-a").instance_id

    def states(self) -> dict[str, str]:
        self.ec2.advance()
        return {instance.instance_id: instance.state for instance in self.ec2.instances()}


@pytest.fixture
def world() -> World:
    clock, ids, store, telemetry = Falling(), SeededIds(), Store(), RecordedTelemetry()
    settings = Settings(subnets={"subnet-a": Subnet(zone="a")}, shutting_down=timedelta(seconds=30))
    ec2 = Ec2(now=clock.now, settings=settings, launch_templates=lambda _id, _version: LaunchTemplateData())
    calls = AwsCalls(clock=clock, ids=ids, deadline=clock, throttles=errors.NOTHING_DONE, server_errors=errors.SERVER)
    client: Any = DirectClient(ec2)
    fleet = Ec2Fleet(
        client=lambda: client,
        calls=calls,
        clock=clock,
        deployment="stack",
        arn_prefix="arn:aws:ec2:eu-central-1:123456789012:instance/",
        template=LaunchTemplate(template_id="lt-0123456789abcdef0", version="1"),
        subnets=Subnets(client=lambda: client, calls=calls, clock=clock, telemetry=telemetry, subnet_ids=("subnet-a",)),
        policy=LaunchPolicy(),
        oddities=Oddities(telemetry=telemetry),
    )
    leases = [MemoryLease(store=store, function=function) for function in ("dispatcher", "tracker")]
    clear = TerminateAll(fleet=fleet, leases=leases, clock=clock, deadline=clock, ids=ids, telemetry=telemetry)
    return World(clock=clock, ec2=ec2, store=store, telemetry=telemetry, clear=clear)


def test_every_vm_of_ours_is_ended_and_waited_for(world: World) -> None:
    ours, theirs = [world.vm() for _ in range(3)], world.vm("another")
    assert world.clear() == ()
    assert {world.states()[vm] for vm in ours} == {"terminated"}
    assert world.states()[theirs] != "terminated"
    assert world.clock.left() > RESERVE


def test_nothing_to_end_takes_no_longer_than_late_vms_may(world: World) -> None:
    assert world.clear() == ()
    assert world.clock.now() - EPOCH <= LATE_VM_WINDOW + timedelta(seconds=3)


def test_a_stopped_vm_goes_too(world: World) -> None:
    vm = world.vm()
    world.clock.sleep(timedelta(seconds=30))
    world.ec2.advance()
    world.ec2.stop(vm)
    assert world.clear() == ()
    assert world.states()[vm] == "terminated"


def test_what_a_launch_under_way_brings_late_is_ended(world: World) -> None:
    late: list[str] = []
    world.clock.agenda.append((EPOCH + LATE_VM_WINDOW - timedelta(seconds=4), lambda: late.append(world.vm())))
    assert world.clear() == ()
    assert [world.states()[vm] for vm in late] == ["terminated"]


def test_whoever_works_is_relieved_and_launches_nothing_more(world: World) -> None:
    lease = world.clear.leases[0]
    held = lease.acquire("worker", now=world.clock.now(), ttl=SHIFT)
    assert held is not None

    def tick_ends() -> None:
        renewed = lease.renew(held, now=world.clock.now(), ttl=SHIFT)
        assert renewed is not None
        assert renewed.successor is not None
        lease.release(renewed)

    world.clock.agenda.append((EPOCH + timedelta(seconds=4), tick_ends))
    assert world.clear() == ()
    intent = Intent(
        intent_id=IntentId("as-9"), class_name=ClassName("default"), request="{}", count=1, queues=(), created_at=EPOCH
    )
    with pytest.raises(GiveUpError):
        MemoryLedger(store=world.store).write_intent(intent, fence=held.fence)


def test_nobody_takes_the_leases_after_us(world: World) -> None:
    world.clear()
    world.clock.sleep(timedelta(minutes=5))
    for lease in world.clear.leases:
        assert lease.acquire("late invocation", now=world.clock.now(), ttl=SHIFT) is None


def test_a_worker_that_never_lets_go_is_told_and_stops_nothing(world: World) -> None:
    lease, vm = world.clear.leases[0], world.vm()
    lease.acquire("worker", now=world.clock.now(), ttl=timedelta(hours=1))
    assert world.clear() == ("another invocation still runs cycles",)
    assert world.states()[vm] == "terminated"
    assert world.clock.now() - EPOCH >= HANDOVER_TIMEOUT


def test_what_is_not_gone_in_time_is_named(world: World) -> None:
    vm = world.vm()
    world.clock.ends_at = EPOCH + timedelta(seconds=40)
    (problem,) = world.clear()
    assert vm in problem
    assert world.states()[vm] == "shutting-down"


def test_a_throttled_look_is_one_look_less(world: World) -> None:
    vm = world.vm()
    world.ec2.faults.fail("DescribeInstances", "RequestLimitExceeded", status=503, times=6)
    assert world.clear() == ()
    assert world.states()[vm] == "terminated"


def test_a_removal_is_not_stopped_by_ec2(world: World) -> None:
    world.ec2.faults.fail("DescribeInstances", "RequestLimitExceeded", status=503, times=1_000)
    (problem,) = world.clear()
    assert "VMs may be left" in problem
    assert "vms_not_cleared" in world.telemetry.messages("ERROR")
