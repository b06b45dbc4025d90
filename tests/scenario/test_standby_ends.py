"""Every way in which an idle VM ends, against a job that comes at that moment and a process that dies at any call."""

from collections import Counter
from datetime import timedelta

import pytest

from agent_stack.adapters.ec2.requests import HOLD_TAG
from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.standby import Closing
from tests.scenario.standing_by import READY_SOON, SOON, World, cold_start, document
from tests.simulator.buildkite import JobState
from tests.simulator.cloud import Instance
from tests.simulator.memory.store import Box
from tests.simulator.simulation.nature import CLASSES_PARAMETER
from tests.simulator.simulation.process import Fate
from tests.unit.values import a_letter, a_run, a_vm


@pytest.mark.parametrize("seconds", [0.2, 0.6, 1.0, 1.4, 2.0])
@pytest.mark.share(6)
def test_a_bind_against_a_closing_whichever_comes_first(seconds: float) -> None:
    """The operator wants no VM any more, and a job comes at that moment: it runs, on this VM or on another one."""
    world = World(document(hot=1))
    world.parameters.values[CLASSES_PARAMETER] = document(hot=0)
    world.kernel.after(timedelta(seconds=seconds), "", world.push_one)
    world.run(60)
    (job,) = world.buildkite.jobs()
    assert (job.state, job.exit_status) == (JobState.FINISHED, 0)
    assert not world.store.closed & world.store.boxes.keys()
    assert world.up() == []


def take_back(world: World, victim: Instance) -> None:
    """EC2 announces it two minutes before. A VM that stands by looks every five seconds, and ends itself."""
    world.take_back(victim.instance_id)


def test_an_idle_spot_vm_that_ec2_takes_back_is_replaced_and_says_nothing_against_its_class() -> None:
    world = World(document(hot=2, shape={"market": "spot"}), seconds=250)
    victim, other = world.idle()
    take_back(world, victim)
    world.run(6)
    (job,) = world.push(seconds=5)
    assert world.until(job, JobState.RUNNING) <= 5
    (run,) = [run for run in world.store.runs.values() if run.job_id == job]
    assert run.binding is not None
    assert run.binding.instance_id == other.instance_id
    world.run(150)
    assert len(world.idle()) == 2
    assert InstanceId(victim.instance_id) not in world.store.standby
    assert world.said("standby_unprepared") + world.said("orphan_terminated") == []


def calls_of_the_end(kind: str) -> list[str]:
    world = World(document(hot=2), settings={"MAX_INSTANCES": "2"})
    begin = len(world.points)
    end_an_idle_vm(world, kind)
    world.push(1, seconds=5)
    world.run(40)
    return world.points[begin:]


def end_an_idle_vm(world: World, kind: str) -> None:
    victim = world.idle()[0]
    match kind:
        case "scale-down":
            world.parameters.values[CLASSES_PARAMETER] = document(hot=1)
        case "preempted":
            world.push(rules=("class=other",), seconds=5)
        case "host lost":
            world.ec2.lose_host(victim.instance_id)
        case "ends itself":
            world.vms[victim.instance_id]._off()
        case "hold over":
            vm = world.vms[victim.instance_id]
            vm._hold = timedelta()
            vm._wait()
        case "age":
            world.age(InstanceId(victim.instance_id))
        case "spot notice":
            take_back(world, victim)
        case "launches off":
            world.deploy(LAUNCH_ENABLED="false")
            world.kernel.after(timedelta(seconds=40), "", lambda: world.deploy(LAUNCH_ENABLED="true"))
        case "hangs and is closed":
            world.vms[victim.instance_id].stop()
            world.parameters.values[CLASSES_PARAMETER] = document(hot=1)
        case _:
            world.ec2.terminate_by_hand(victim.instance_id)


KINDS = (
    *("spot notice", "launches off"),
    *("scale-down", "preempted", "host lost", "ends itself", "by hand", "hold over", "age", "hangs and is closed"),
)
ON_THE_WAY = (
    *("stacks.list_scheduled", "ledger.record", "stacks.reserve", "ledger.update", "stacks.issue_tokens"),
    *("ledger.bind", "standby.remove"),
)
"""The dispatcher's calls from a job's listing to the end of its binding."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", ON_THE_WAY)
@pytest.mark.share(8)
def test_an_idle_vm_may_end_at_any_call_of_a_binding_and_the_job_runs_once(kind: str, call: str) -> None:
    world = World(document(shape=READY_SOON), settings={"MAX_INSTANCES": "2"}, seconds=SOON)
    ended: list[str] = []

    def judge(point: str) -> Fate:
        if point == f"dispatcher {call}" and world.buildkite.jobs() and not ended:
            ended.append(point)
            end_an_idle_vm(world, kind)
        return Fate.GOES_ON

    world.judge = judge
    world.push_one()
    world.run(30)
    assert ended, "the call was made"
    world.settle(900)
    assert {(job.state, job.exit_status) for job in world.buildkite.jobs()} == {(JobState.FINISHED, 0)}
    assert not world.store.closed & world.store.boxes.keys()


@pytest.mark.parametrize(
    "call", ["stacks.reserve", "ledger.bind", "ledger.write_intent", "standby.add", "standby.close"]
)
@pytest.mark.share(6)
def test_a_dispatcher_that_hangs_for_longer_than_its_lease_and_another_one_share_the_vms(call: str) -> None:
    world = World(document(shape=READY_SOON), settings={"MAX_INSTANCES": "4"}, seconds=SOON)
    hung: list[str] = []

    def judge(point: str) -> Fate:
        if point == f"dispatcher {call}" and not hung:
            hung.append(point)
            world.wake("dispatcher", 9.5)
            world.kernel.sleep(timedelta(seconds=20))
        return Fate.GOES_ON

    world.judge = judge
    jobs = world.push(3, seconds=5)
    world.run(15)
    world.parameters.values[CLASSES_PARAMETER] = document(hot=1, shape=READY_SOON)
    world.run(60)
    assert hung, "the call was made"
    world.settle(900)
    assert {world.buildkite.job(job).exit_status for job in jobs} == {0}


@pytest.mark.parametrize("kind", ["scale-down", "preempted", "host lost", "ends itself", "by hand"])
@pytest.mark.share(6)
def test_whichever_way_an_idle_vm_ends_and_whenever_a_process_dies_the_job_runs_once(kind: str) -> None:
    points = calls_of_the_end(kind)
    effects = [n for n, point in enumerate(points) if point.rpartition(".")[2] in {"bind", "close", "add", "remove"}]
    assert effects
    for number in effects:
        for fate in (Fate.DIES_BEFORE, Fate.DIES_AFTER, Fate.ANSWER_LOST):
            world = World(document(hot=2), settings={"MAX_INSTANCES": "2"})
            begin = len(world.points)

            def judge(_: str, at: int = begin + number, fate: Fate = fate, world: World = world) -> Fate:
                return fate if len(world.points) - 1 == at else Fate.GOES_ON

            world.judge = judge
            end_an_idle_vm(world, kind)
            world.push(1, seconds=5)
            world.settle(900)
            ends = Counter((job.state, job.exit_status) for job in world.buildkite.jobs())
            assert set(ends) == {(JobState.FINISHED, 0)}, (points[number], fate)
            assert not world.store.closed & world.store.boxes.keys()


def test_vms_that_are_too_old_are_replaced_before_they_end() -> None:
    world = World(document(hot=2, minutes=10), seconds=200)
    fewest = 2
    for _ in range(1500):
        world.run(1)
        fewest = min(fewest, len(world.idle()))
    assert fewest >= 2
    ages = [vm.expires_at - vm.launched_at for vm in world.store.standby.values()]
    assert all(timedelta(minutes=8) <= age <= timedelta(minutes=12) for age in ages)
    assert {one["reason"] for one in world.said("standby_closed")} == {Closing.AGE}


def spent(world: World) -> float:
    """VM seconds so far of what was launched to stand by."""
    return sum(
        ((one.terminated_at or world.kernel.now()) - one.launched_at).total_seconds()
        for one in world.ec2.instances()
        if HOLD_TAG in one.tags
    )


def dies_always(world: World, function: str) -> None:
    world.judge = lambda point: Fate.DIES_BEFORE if point.startswith(f"{function} ") else Fate.GOES_ON


def test_a_dispatcher_that_is_dead_for_six_hours_costs_no_more_than_the_hold_and_comes_back() -> None:
    """It asks for nothing more, and each VM ends itself by its hold: four hours and a fifth."""
    world = World(document(hot=2), watched=False)
    dies_always(world, "dispatcher")
    world.run(6 * 3600)
    assert world.up() == []
    assert spent(world) <= 2 * (1.2 * 4 * 3600 + 60)
    world.judge = lambda _: Fate.GOES_ON
    world.run(180)
    assert len(world.idle()) == 2


def test_a_dead_tracker_costs_nothing_because_the_vms_end_themselves() -> None:
    world = World(document(hot=2, minutes=60))
    dies_always(world, "tracker")
    world.run(80 * 60)
    assert spent(world) <= 2 * 82 * 60 + 4 * 15 * 60


def test_a_forged_mailbox_of_an_idle_vm_keeps_no_job_waiting_and_ends_with_the_hold() -> None:
    """A VM's role may write the VM's own item, also before there is one. Then no job can be bound to it."""
    world = World(document(hot=1, minutes=10, shape=READY_SOON), seconds=SOON)
    forger = world.vms[world.idle()[0].instance_id]
    world.store.boxes[forger._arn] = Box(assignment=a_letter(a_run(9), a_vm(9)), credential=None)
    (job,) = world.push(seconds=5)
    assert world.until(job, JobState.RUNNING) <= cold_start() + 5
    assert world.store.boxes[forger._arn].assignment.job_id != job
    world.run(20 * 60)
    assert not forger.alive


def test_a_forged_status_of_an_idle_vm_changes_nothing() -> None:
    """A VM may write its own mailbox once there is one. Before a job there is none, so there is nothing to believe."""
    world = World(document(hot=1))
    idle = world.idle()[0]
    world.vms[idle.instance_id]._report("agent_started", "I have a job")  # type: ignore[arg-type]  # a forgery
    world.run(60)
    assert [one.instance_id for one in world.idle()] == [idle.instance_id]
