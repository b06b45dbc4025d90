"""What `agent-stack pause` stops, how soon, and what goes on after `agent-stack resume`."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from agent_stack.domain.waiting import WaitReason
from tests.simulator.buildkite import JobState, Step
from tests.simulator.simulation.nature import QUICK, Nature, plain_ec2
from tests.simulator.simulation.simulation import Simulation

BOUND = timedelta(seconds=5)
SLOW = {**QUICK, "MAX_INSTANCES": "20", "IDLE_POLL_SECONDS": "2"}


def world(settings: dict[str, str] | None = None, **ec2: Any) -> Simulation:  # noqa: ANN401  (EC2's settings)
    simulation = Simulation(seed=1, nature=Nature(ec2=plain_ec2(**ec2)), settings={**SLOW, **(settings or {})})
    simulation.run(65)  # both functions run
    return simulation


def push(simulation: Simulation, count: int, seconds: int = 5) -> None:
    simulation.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": str(seconds)})] * count)


def fleets(simulation: Simulation, since: datetime) -> list[datetime]:
    return [call.at for call in simulation.ec2.calls() if call.action == "CreateFleet" and call.at > since]


def versions(simulation: Simulation, since: datetime) -> set[str]:
    """Of the launch template, in the requests that were sent since then."""
    return {
        config["LaunchTemplateSpecification"]["Version"]
        for call in simulation.ec2.calls()
        if call.action == "CreateFleet" and call.at > since
        for config in call.request["LaunchTemplateConfigs"]
    }


def states(simulation: Simulation) -> Counter[JobState]:
    return Counter(job.state for job in simulation.buildkite.jobs())


def paused(simulation: Simulation, queue: str = "*") -> datetime:
    now = simulation.kernel.now()
    simulation.store.pause(at=now, queue=queue)
    return now


@pytest.mark.parametrize("queue", ["*", "default"])
def test_a_job_that_comes_after_the_pause_gets_no_vm_and_one_that_runs_runs_on(queue: str) -> None:
    simulation = world()
    push(simulation, 1, seconds=60)
    simulation.run(25)
    at = paused(simulation, queue)
    push(simulation, 3)
    simulation.run(240)  # a job that was reserved within these seconds is let go with its reservation
    assert not fleets(simulation, at)
    assert states(simulation) == {JobState.FINISHED: 1, JobState.SCHEDULED: 3}


def test_a_pause_of_another_queue_stops_nothing_here() -> None:
    simulation = world()
    at = paused(simulation, "another")
    push(simulation, 2)
    simulation.run(40)
    assert fleets(simulation, at)
    assert states(simulation) == {JobState.FINISHED: 2}


@pytest.mark.parametrize("after_seconds", [0.2, 0.7, 1.3, 2.1, 3.4])
@pytest.mark.parametrize(
    "trouble",
    [
        lambda faults: faults.fail("CreateFleet", "RequestLimitExceeded", status=503, times=500),
        lambda faults: faults.lose_answer("CreateFleet", times=500),
        lambda faults: faults.fail("CreateFleet", "InternalError", status=500, times=500),
        lambda faults: faults.errors_in_answer("InsufficientInstanceCapacity", times=500),
    ],
    ids=["throttled", "answers lost", "server errors", "no capacity"],
)
def test_no_request_leaves_five_seconds_after_the_pause_whatever_ec2_answers(
    trouble: Any,  # noqa: ANN401  (a script for the faults)
    after_seconds: float,
) -> None:
    simulation = world()
    trouble(simulation.ec2.faults)
    push(simulation, 6)
    while not fleets(simulation, simulation.kernel.now() - timedelta(minutes=5)):
        simulation.run(0.1)
    simulation.run(after_seconds)
    at = paused(simulation)
    simulation.run(180)  # handovers, replays and the end of the unanswered launches among them
    assert not fleets(simulation, at + BOUND)


def test_without_the_pause_these_requests_go_on() -> None:
    """The test above can fail."""
    simulation = world()
    simulation.ec2.faults.fail("CreateFleet", "RequestLimitExceeded", status=503, times=500)
    push(simulation, 6)
    simulation.run(10)
    at = simulation.kernel.now()
    simulation.run(60)
    assert fleets(simulation, at + BOUND)


def test_launch_deadlines_stop_and_the_jobs_run_after_the_resumption() -> None:
    """The pause is longer than the deadline, and shorter than the reservation."""
    simulation = world({"LAUNCH_DEADLINE_SECONDS": "60", "RESERVATION_SECONDS": "600", "MAX_INSTANCES": "6"})
    simulation.ec2.faults.errors_in_answer("InsufficientInstanceCapacity", times=30)
    push(simulation, 2)
    simulation.run(10)
    assert states(simulation) == {JobState.RESERVED: 2}
    paused(simulation)
    simulation.run(300)
    assert states(simulation) == {JobState.RESERVED: 2}
    simulation.ec2.faults.clear()
    simulation.store.resume(at=simulation.kernel.now())
    simulation.run(240)
    assert states(simulation) == {JobState.FINISHED: 2}
    assert not [job for job in simulation.buildkite.jobs() if job.stack_finish is not None]


def test_the_build_page_says_who_paused_it_and_since_when() -> None:
    simulation = world()
    paused(simulation)
    push(simulation, 1)
    simulation.run(60)
    assert simulation.store.waiting is not None
    (waiting,) = simulation.store.waiting.jobs
    assert waiting.reason is WaitReason.PAUSED
    (job,) = simulation.buildkite.jobs()
    told = [notification.detail for notification in job.notifications]
    assert [text for text in told if "an operator has paused the launches of this stack" in text and "alice" in text]


def test_a_paused_idle_dispatcher_asks_no_more_than_an_idle_one() -> None:
    def asked(simulation: Simulation) -> Counter[str]:
        before = Counter(simulation.points)
        simulation.run(120)
        return Counter(simulation.points) - before

    idle, stopped = world(), world()
    paused(stopped)
    stopped.run(10)
    idle.run(10)
    counted = asked(stopped)
    assert counted == asked(idle)
    assert counted["dispatcher lease.pauses"] == 0


# --- over a deployment ---

NEW_VERSION = {"LAUNCH_TEMPLATE_VERSION": "2", "MAX_INSTANCES": "30", "IDLE_POLL_SECONDS": "1"}


@pytest.mark.parametrize("seconds_between", [-20, -3, 0, 3, 20], ids=lambda seconds: f"{seconds} s after the pause")
@pytest.mark.parametrize("refused", [False, True], ids=["EC2 launches", "in the middle of retries"])
@pytest.mark.share(8)
def test_a_pause_survives_a_deployment_and_holds_for_both_versions(seconds_between: int, refused: bool) -> None:  # noqa: FBT001  (a parameter)
    """The old version's process is still at work when the new one's begins, and then comes a third version."""
    simulation = world()
    if refused:
        simulation.ec2.faults.fail("CreateFleet", "RequestLimitExceeded", status=503, times=500)
        push(simulation, 2)
        simulation.run(2)
    if seconds_between < 0:
        simulation.deploy(**NEW_VERSION)
        simulation.run(-seconds_between)
    at = paused(simulation)
    if seconds_between >= 0:
        simulation.run(seconds_between)
        simulation.deploy(**NEW_VERSION)
    push(simulation, 3)
    simulation.run(200)
    assert not fleets(simulation, at + BOUND)
    simulation.deploy(LAUNCH_TEMPLATE_VERSION="3")
    simulation.run(100)
    assert not fleets(simulation, at + BOUND)

    simulation.ec2.faults.clear()
    resumed = simulation.kernel.now()
    simulation.store.resume(at=resumed)
    simulation.run(300)
    assert versions(simulation, resumed) == {"3"}
    assert set(states(simulation)) == {JobState.FINISHED}


def test_a_deployment_ends_no_launching_where_nothing_is_paused() -> None:
    """The test above can fail, and both versions do launch."""
    simulation = world()
    began = simulation.kernel.now()
    simulation.deploy(**NEW_VERSION)
    push(simulation, 2)
    simulation.run(90)
    push(simulation, 2)
    simulation.run(120)
    assert versions(simulation, began) == {"1", "2"}
    assert states(simulation) == {JobState.FINISHED: 4}
