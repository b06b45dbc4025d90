"""What a person reads on the build page, in whole worlds: why a job waits, what became of its VM, and why it ended."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from agent_stack.domain.classes import base_name
from agent_stack.domain.identifiers import JobId
from agent_stack.domain.states import Moment
from tests.simulator.buildkite import JobState, Operation, Step
from tests.simulator.cloud import Subnet
from tests.simulator.simulation.invariants import TOLD_AT_MOST
from tests.simulator.simulation.machine import Temper
from tests.simulator.simulation.nature import QUICK, Nature, plain_ec2
from tests.simulator.simulation.simulation import Simulation

ZONES = {f"subnet-{suffix}": Subnet(zone=f"eu-central-1{suffix}") for suffix in "ab"}
CLASSES = """
{"classes": {
  "default": {"instance_types": ["m7i.large"], "image": "ami-0123456789abcdef0", "boot_timeout_seconds": 60},
  "few": {"instance_types": ["m7i.large"], "image": "ami-0123456789abcdef0", "boot_timeout_seconds": 60,
          "max_instances": 1},
  "spot": {"instance_types": ["c7i.large"], "market": "spot", "fallback_to_on_demand": true,
           "image": "ami-0123456789abcdef0", "boot_timeout_seconds": 300}
}, "default_class": "default"}
"""


def world(*, temper: Temper | None = None, settings: dict[str, str] | None = None, **ec2: Any) -> Simulation:  # noqa: ANN401  (EC2's settings)
    simulation = Simulation(
        seed=1,
        nature=Nature(ec2=plain_ec2(subnets=ZONES, **ec2), temper=temper or Temper()),
        settings={**QUICK, "SUBNET_IDS": ",".join(ZONES), **(settings or {})},
        classes=CLASSES,
    )
    simulation.run(2)
    return simulation


def push(simulation: Simulation, *classes: str, seconds: int = 3) -> list[str]:
    steps = [Step(env={"SIM_SECONDS": str(seconds)}, agents=[f"class={name}"]) for name in classes]
    return list(simulation.buildkite.create_build(steps=steps).job_ids)


def notices_sent(simulation: Simulation, job_id: str) -> list[str]:
    return [notification.detail for notification in simulation.buildkite.job(job_id).notifications]


def test_jobs_that_wait_are_told_why_once_and_no_job_that_does_not() -> None:
    simulation = world(settings={"MAX_INSTANCES": "2"})
    jobs = push(simulation, "few", "default", "few", "default", seconds=80)
    simulation.run(75)
    waiting = {job: [text for text in notices_sent(simulation, job) if text.startswith("Waiting: ")] for job in jobs}
    served = [job for job in jobs if not waiting[job]]
    assert len(served) == 2
    texts = sorted(text for job in jobs for text in waiting[job])
    assert len(texts) == 2
    assert all("all 2 VMs of this stack are taken (MaxInstances)" in text for text in texts)
    simulation.run(120)
    assert simulation.settle(300) < 300
    assert all(
        len(notices_sent(simulation, job)) == len(set(notices_sent(simulation, job))) <= TOLD_AT_MOST for job in jobs
    )


def test_while_launches_are_switched_off_the_build_page_says_so() -> None:
    simulation = world(settings={"LAUNCH_ENABLED": "false"})
    (job,) = push(simulation, "default")
    simulation.run(120)
    assert notices_sent(simulation, job) == [
        "Waiting: an operator has turned launches off (LaunchEnabled). Next: it starts when they are on again."
    ]


def test_a_job_for_which_ec2_has_nothing_is_told_in_ec2s_words() -> None:
    simulation = world(capacity={f"{m}:{t}:eu-central-1{z}": 0 for m, t in (("on-demand", "m7i.large"),) for z in "ab"})
    (job,) = push(simulation, "default")
    simulation.run(90)
    (text,) = notices_sent(simulation, job)
    assert "InsufficientInstanceCapacity" in text


def test_a_job_that_loses_spot_twice_gets_on_demand_and_reads_about_it() -> None:
    simulation = world(temper=Temper(boot=(140.0, 140.0)))  # longer than the two minutes of a spot notice
    (job,) = push(simulation, "spot")
    noticed: set[str] = set()
    for _ in range(100):
        simulation.run(5)
        spot = {i.instance_id for i in simulation.ec2.instances() if i.capacity_type == "spot" and i.state == "running"}
        for instance_id in spot - noticed:
            simulation.ec2.interrupt_spot(instance_id)
        noticed |= spot
    by_launch = sorted(simulation.ec2.instances(), key=lambda instance: instance.launched_at)
    assert [instance.capacity_type for instance in by_launch] == ["spot", "spot", "on-demand"]
    assert by_launch[0].zone != by_launch[1].zone
    assert simulation.buildkite.job(job).exit_status == 0
    texts = notices_sent(simulation, job)
    assert sum("was interrupted by EC2 (spot)" in text for text in texts) == 2
    assert sum("on-demand after 2 spot losses" in text for text in texts) == 1
    assert {base_name(run.class_name) for run in simulation.store.history} == {"spot"}


def test_vms_that_never_say_a_word_are_finished_with_the_end_of_their_console() -> None:
    simulation = world(temper=Temper(hangs=1.0))
    (job,) = push(simulation, "default")
    simulation.run(400)
    ended = simulation.buildkite.job(job).stack_finish
    assert ended is not None
    assert ended.detail.startswith("No agent could be started in 3 attempts: no agent after")
    assert "3. i-" in ended.detail
    assert "boot_timeout_seconds (now 60)" in ended.detail
    assert "console shows nothing" in ended.detail
    assert any(call.action == "GetConsoleOutput" for call in simulation.ec2.calls())
    assert len(notices_sent(simulation, job)) <= TOLD_AT_MOST


def test_a_run_that_ends_well_has_its_whole_time_line_in_order() -> None:
    simulation = world()
    simulation.send_hints()
    push(simulation, "default", seconds=20)
    simulation.run(90)
    (run,) = simulation.store.history
    assert set(run.timeline) == set(Moment) - {Moment.RUNNABLE}, "it was runnable when it was created"
    # Here a launch takes effect when it is answered, which may be within the cycle that binds its VM.
    order = [run.timeline[moment] for moment in Moment if moment in run.timeline and moment is not Moment.LAUNCHED]
    assert order == sorted(order)
    assert abs(run.timeline[Moment.LAUNCHED] - run.timeline[Moment.BOUND]) < timedelta(seconds=5)


def terminated(simulation: Simulation) -> dict[str, datetime]:
    """When each VM was to be terminated last."""
    ended: dict[str, datetime] = {}
    for call in simulation.ec2.calls():
        if call.action == "TerminateInstances":
            ended |= dict.fromkeys(call.request["InstanceIds"], call.at)
    return ended


@pytest.mark.parametrize("slow", [False, True])
def test_build_pages_that_take_no_notification_delay_no_termination(slow: bool) -> None:  # noqa: FBT001  (drawn)
    """For a minute the endpoint answers 429, or does not answer in time."""
    simulation = world(
        temper=Temper(hangs=1.0), settings={"UNASSIGNED_TIMEOUT_SECONDS": "600", "SWEEP_GRACE_SECONDS": "600"}
    )
    simulation.run(5)
    for _ in range(200):
        if slow:
            simulation.buildkite.faults.delay_answer(Operation.NOTIFY, seconds=30)
        else:
            simulation.buildkite.faults.fail(Operation.NOTIFY, status=429, retry_after=60)
    jobs = push(simulation, "spot", "spot", "spot")  # their VMs may hang for longer than this takes
    while not all(run.binding for run in simulation.store.runs.values()) or not simulation.store.runs:
        simulation.run(1)
    simulation.run(65)  # the tracker works, whenever in its minute it is invoked
    cancelled_at: dict[str, datetime] = {}
    for job_id in jobs:
        simulation.run(3)
        binding = simulation.store.runs[JobId(job_id)].binding
        assert binding is not None
        simulation.buildkite.cancel_job(job_id)
        assert simulation.buildkite.job(job_id).state is JobState.CANCELED
        cancelled_at[binding.instance_id] = simulation.kernel.now()
    simulation.run(10)
    ended = terminated(simulation)
    waits = [ended[instance_id] - at for instance_id, at in cancelled_at.items()]
    assert max(waits) <= timedelta(seconds=5)


@pytest.mark.parametrize("way", ["refused", "slow", "unknown"])
def test_a_new_tracker_that_cannot_learn_the_dialect_extends_terminates_and_finishes_on_time(way: str) -> None:
    """Each invocation has a new process here, which knows no dialect, and a tracker lists no jobs otherwise."""
    simulation = world(
        temper=Temper(hangs=1.0),
        settings={"UNASSIGNED_TIMEOUT_SECONDS": "600", "SWEEP_GRACE_SECONDS": "600", "MAX_LAUNCH_ATTEMPTS": "1"},
    )
    simulation.run(5)
    *cancelled, hanging = push(simulation, *["spot"] * 5)
    while not all(run.binding for run in simulation.store.runs.values()) or len(simulation.store.runs) < 5:
        simulation.run(1)
    bound_at = simulation.kernel.now()
    simulation.throttled.add("dispatcher")  # so that these answers reach the tracker only
    simulation.run(65)
    faults = simulation.buildkite.faults
    match way:
        case "refused":
            faults.fail(Operation.LIST_SCHEDULED_JOBS, status=429, retry_after=60, times=500)
        case "slow":
            faults.delay_answer(Operation.LIST_SCHEDULED_JOBS, seconds=30, times=500)
        case _:  # as if Buildkite had forgotten the stack, and takes its time to learn it again
            faults.fail(Operation.LIST_SCHEDULED_JOBS, status=404, times=2_000)
            faults.delay_answer(Operation.REGISTER_STACK, seconds=30, times=500)
    simulation.run(65)  # by then a tracker works that began after the faults did
    cancelled_at: dict[str, datetime] = {}
    for job_id in cancelled:
        simulation.run(13)
        binding = simulation.store.runs[JobId(job_id)].binding
        assert binding is not None
        simulation.buildkite.cancel_job(job_id)
        cancelled_at[binding.instance_id] = simulation.kernel.now()
    simulation.run(250)
    ended = terminated(simulation)
    assert max(ended[instance_id] - at for instance_id, at in cancelled_at.items()) <= timedelta(seconds=5)
    job = simulation.buildkite.job(hanging)
    assert [state for state, _ in job.timeline] == ["scheduled", "reserved", "finished"], "no reservation lapsed"
    assert job.stack_finish is not None
    assert job.stack_finish.at - bound_at <= timedelta(seconds=315), "its boot timeout is five minutes"
