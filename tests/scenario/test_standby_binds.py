"""A bind to a standby VM that is dead, or that has gone stale, at any call of the bind: each job runs once."""

from collections import Counter

import pytest

from agent_stack.domain.identifiers import InstanceId, JobId
from agent_stack.domain.standby import Closing
from tests.scenario.standing_by import READY_SOON, SOON, World, document
from tests.scenario.test_standby_ends import ON_THE_WAY
from tests.simulator.buildkite import JobState
from tests.simulator.cloud import Instance
from tests.simulator.simulation.nature import CLASSES_PARAMETER
from tests.simulator.simulation.process import Fate

OTHER_IMAGE = "ami-0aaaaaaaaaaaaaaa0"
STALE = ("launch template", "image", "age", "class")


def spoil(world: World, kind: str, victims: list[Instance]) -> None:
    """What makes these VMs dead or stale."""
    match kind:
        case "dead":
            for one in victims:
                world.vms[one.instance_id].stop()  # EC2 shows it running
        case "one dead":
            world.vms[victims[0].instance_id].stop()
        case "launch template":
            world.deploy(LAUNCH_TEMPLATE_VERSION="2")
        case "image":
            shape = {**READY_SOON, "image": OTHER_IMAGE}
            world.parameters.values[CLASSES_PARAMETER] = document(shape=shape)
        case "class":
            shape = {**READY_SOON, "instance_types": ["m6i.large"]}
            world.parameters.values[CLASSES_PARAMETER] = document(shape=shape)
        case _:
            for one in victims:
                world.age(InstanceId(one.instance_id))


def played(kind: str, call: str) -> tuple[World, list[str]]:
    """Two jobs on two standby VMs, which are spoilt at that call, until both are over and two VMs stand by again."""
    world = World(document(shape=READY_SOON), seconds=SOON)
    victims, done = world.idle(), list[str]()
    assert len(victims) == 2

    def judge(point: str) -> Fate:
        if point == f"dispatcher {call}" and world.buildkite.jobs() and not done:
            done.append(point)
            spoil(world, kind, victims)
        return Fate.GOES_ON

    world.judge = judge
    jobs = world.push(2, seconds=5)
    world.run(100)
    assert done, "the call was made"
    return world, jobs


@pytest.mark.parametrize("kind", ["dead", "one dead", *STALE])
@pytest.mark.parametrize("call", ON_THE_WAY)
@pytest.mark.share(8)
def test_a_standby_vm_that_is_dead_or_goes_stale_at_any_call_of_a_bind_costs_no_job_its_run(
    kind: str, call: str
) -> None:
    world, jobs = played(kind, call)
    ends = Counter((world.buildkite.job(job).state, world.buildkite.job(job).exit_status) for job in jobs)
    assert ends == {(JobState.FINISHED, 0): 2}
    taken = Counter(one for job in jobs for one in world.laws.bound_to[JobId(job)])
    assert set(taken.values()) == {1}, "no VM had two jobs"
    misses = sum(len(world.laws.bound_to[JobId(job)]) - 1 for job in jobs)
    assert misses <= {"dead": 2, "one dead": 1}.get(kind, 0), "a stale VM takes jobs, and only a dead one costs one"
    assert not world.store.closed & world.store.boxes.keys()
    reasons = {one["reason"] for one in world.said("standby_closed")}
    assert reasons <= {Closing.STALE, Closing.AGE, Closing.SCALE_DOWN}
    assert len(world.idle()) == 2
    if kind == "image":
        assert {one.image_id for one in world.idle()} == {OTHER_IMAGE}
