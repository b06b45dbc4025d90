"""A VM whose boot failed stays up for a person: its job does not notice, and it ends whoever is dead."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from agent_stack.domain.holds import MAX_HELD
from tests.simulator.buildkite import Step
from tests.simulator.cloud import Instance
from tests.simulator.cloud.instance import UP
from tests.simulator.simulation.machine import Temper, VirtualVm
from tests.simulator.simulation.nature import QUICK, Nature, plain_ec2
from tests.simulator.simulation.process import Fate
from tests.simulator.simulation.simulation import Simulation
from tests.simulator.world import Plan, World

FAILS = Temper(fails_booting=1.0, boot=(2.0, 2.0))
TEN_MINUTES = 600


def a_world(hold: int = 10, temper: Temper = FAILS, **settings: str) -> Simulation:
    """Nothing in it depends on a draw, so that two of them can be compared."""
    return Simulation(
        seed=1,
        nature=Nature(
            ec2=plain_ec2(pending=(timedelta(seconds=3), timedelta(seconds=3))),
            temper=temper,
            latency=(0.05, 0.05),
            launch_latency=(1.0, 1.0),
        ),
        settings={**QUICK, "MAX_LIFETIME_SECONDS": "3600", "HOLD_ON_FAILURE_MINUTES": str(hold), **settings},
    )


def push(simulation: Simulation, count: int = 1, *, seconds: int = 5) -> tuple[str, ...]:
    return simulation.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": str(seconds)})] * count).job_ids


def held(simulation: Simulation) -> list[VirtualVm]:
    return [vm for vm in simulation.vms.values() if vm.held_until is not None]


def is_up(simulation: Simulation, vm: VirtualVm) -> bool:
    return any(i.instance_id == vm.instance_id and i.state in UP for i in simulation.ec2.instances())


def ended_at(simulation: Simulation, job_id: str) -> datetime:
    return next(run.state_entered_at for run in simulation.store.history if run.job_id == job_id)


def requeued(simulation: Simulation) -> list[datetime]:
    """When the VMs of its jobs were launched."""
    return sorted(instance.launched_at for instance in simulation.ec2.instances())


def test_a_job_is_finished_at_the_same_moment_with_a_hold_and_without() -> None:
    moments, launches = [], []
    for hold in (0, 10):
        simulation = a_world(hold)
        (job_id,) = push(simulation)
        simulation.run(120)
        assert simulation.buildkite.job(job_id).exit_status == -1
        assert len(held(simulation)) == (1 if hold else 0)
        moments.append(ended_at(simulation, job_id))
        launches.append(requeued(simulation))
    assert abs(moments[1] - moments[0]) <= timedelta(seconds=2)
    assert len(launches[0]) == len(launches[1]) == 3
    assert all(abs(b - a) <= timedelta(seconds=2) for a, b in zip(*launches, strict=True))


def test_many_failed_boots_of_one_launch_hold_one_vm_and_start_the_others_anew() -> None:
    """One request brings several VMs, so their intent is open while the first of them fail: none is bound again."""
    simulation = a_world(MAX_INSTANCES="20")
    jobs = push(simulation, 5)
    simulation.run(150)
    assert [simulation.buildkite.job(job_id).exit_status for job_id in jobs] == [-1] * 5
    assert len(held(simulation)) == 1
    messages = simulation.telemetry.messages()
    assert "jobs_not_bound" not in messages


def test_it_ends_at_its_time_by_the_tracker_when_it_does_not_by_itself() -> None:
    simulation = a_world(temper=Temper(fails_booting=1.0, outstays=1.0))
    push(simulation)
    simulation.run(120)
    (vm,) = held(simulation)
    simulation.run(TEN_MINUTES - 130)
    assert is_up(simulation, vm)
    simulation.run(140)
    assert not is_up(simulation, vm)
    assert "held_vm_terminated" in simulation.telemetry.messages()
    assert "orphan_terminated" not in simulation.telemetry.messages()


def test_it_ends_at_its_time_by_itself_when_both_functions_are_dead() -> None:
    simulation = a_world()
    push(simulation)
    simulation.run(120)
    (vm,) = held(simulation)
    simulation.judge = lambda _: Fate.DIES_BEFORE
    assert vm.held_until is not None
    left = (vm.held_until - simulation.kernel.now()).total_seconds()
    assert left <= TEN_MINUTES
    simulation.run(left - 5)
    assert is_up(simulation, vm)
    simulation.run(10)
    assert not is_up(simulation, vm)


def test_its_tracker_goes_home_while_it_is_held() -> None:
    """A held VM needs nothing: two hours of it must not be two hours of cycles."""
    simulation = a_world()
    push(simulation)
    simulation.run(180)
    (vm,) = held(simulation)
    cycles = sum(point == "tracker ledger.active_runs" for point in simulation.points)
    simulation.run(240)
    more = sum(point == "tracker ledger.active_runs" for point in simulation.points) - cycles
    assert is_up(simulation, vm)
    assert more <= 12, "one or two cycles for each of the schedule's invocations"


def test_a_held_vm_gives_way_when_jobs_need_its_place() -> None:
    simulation = a_world(MAX_INSTANCES="3")
    push(simulation)
    simulation.run(120)
    (vm,) = held(simulation)
    simulation.make_peace()  # boots go well from here on
    jobs = push(simulation, 3, seconds=200)
    simulation.run(90)
    assert not is_up(simulation, vm)
    assert {str(simulation.buildkite.job(job_id).state) for job_id in jobs} == {"running"}


def test_a_class_holds_one_vm_however_many_jobs_fail() -> None:
    simulation = a_world(MAX_INSTANCES="20")
    push(simulation, 4)
    seen = 0
    for _ in range(60):
        simulation.run(2)
        seen = max(seen, sum(is_up(simulation, vm) for vm in held(simulation)))
    assert seen == 1 <= MAX_HELD


# --- over HTTP: the shipped functions, the shipped boot program, the roles of the template ---

PLAN = Plan(
    parameters={
        "HoldOnFailureMinutes": "5",
        "SessionManager": "true",
        "GitSshKeyParameter": "/nowhere",  # so that each boot fails
        "MaxLaunchAttempts": "2",
    }
)


def until(holds: Callable[[], bool], what: str, *, seconds: float = 60) -> None:
    retry_until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < retry_until, f"never: {what}"
        time.sleep(0.2)


@pytest.mark.e2e
@pytest.mark.share(3, "whole stacks")
def test_the_whole_stack_holds_a_vm_and_says_how_to_connect() -> None:
    lines: list[str] = []
    with World(PLAN, on_line=lambda _, line: lines.append(line)) as world:
        world.start()
        (job_id,) = world.buildkite.create_build("demo", steps=[Step(command="true")]).job_ids
        until(lambda: world.buildkite.job(job_id).stack_finish is not None, "the job is finished")

        def instances() -> list[Instance]:
            return sorted(world.vms_of(job_id), key=lambda vm: vm.launched_at)

        first, second = instances()
        told = "\n".join(notice.detail for notice in world.buildkite.job(job_id).notifications)
        assert f"aws ssm start-session --target {first.instance_id}" in told
        until(lambda: instances()[1].state == "terminated", "the second VM of the class ends")
        assert instances()[0].state == "running"
        until(lambda: "held for" in world.machines.vm(first.instance_id).console(), "the VM is told")
        assert "held for" not in world.machines.vm(second.instance_id).console()
        (item,) = world.ledger_items("holds")
        (stored,) = item["vms"]["L"]
        assert stored["M"]["instance_id"]["S"] == first.instance_id
        over = str(time.time())  # its time is over: nobody wants to wait five minutes here
        world.dynamodb.update_item(
            TableName=world.deployed.ledger_table,
            Key={"pk": item["pk"], "sk": item["sk"]},
            UpdateExpression="SET vms[0].#until = :over",
            ExpressionAttributeNames={"#until": "until"},
            ExpressionAttributeValues={":over": {"N": over}},
        )
        until(lambda: instances()[0].state == "terminated", "the held VM ends")
        assert instances()[0].reason == "Client.UserInitiatedShutdown"
        assert world.buildkite.violations() == ()
    assert not any('"orphan_terminated"' in line for line in lines)
    assert world.processes_left() == []
