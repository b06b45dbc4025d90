"""Jobs on standby VMs, one situation each: hot starts, bursts, room for other classes, and VMs that are dead."""

import json
from collections import Counter
from typing import Any

import pytest

from agent_stack.domain.measures import Metric
from agent_stack.domain.standby import Closing
from tests.scenario.standing_by import OTHER, World, cold_start, document
from tests.simulator.buildkite import JobState
from tests.simulator.simulation.machine import Temper


def test_a_job_takes_a_standby_vm_starts_in_seconds_and_another_vm_takes_its_place() -> None:
    world = World()
    assert len(world.idle()) == 2
    since = world.kernel.now()
    (job,) = world.push(seconds=100)
    assert world.until(job, JobState.RUNNING) <= 4
    world.run(10)
    assert [(count, standby) for _, count, standby in world.fleets(since)] == [(1, True)]
    world.run(60)
    assert any("Took standby VM" in one.detail for one in world.buildkite.job(job).notifications)
    assert world.telemetry.counts[Metric.STANDBY_HITS] == 1


def test_a_burst_takes_the_ten_hot_vms_and_asks_for_forty_in_one_request_and_then_for_ten_to_stand_by() -> None:
    world = World(document(hot=10))
    assert len(world.idle()) == 10
    since, begin = world.kernel.now(), len(world.points)
    jobs = world.push(50, seconds=120)
    world.run(12)
    calls = Counter(world.points[begin:])
    writes = ("stacks.reserve", "ledger.record", "stacks.issue_tokens", "ledger.bind", "ledger.write_intent")
    counted = {call: calls[f"dispatcher {call}"] for call in writes}
    assert counted == dict(zip(writes, (1, 1, 2, 2, 2), strict=True)), "ten at once, forty once EC2 has answered"
    assert calls["dispatcher standby.remove"] <= 1
    launches = world.fleets(since)
    assert [(count, standby) for _, count, standby in launches] == [(40, False), (10, True)]
    assert (launches[1][0] - launches[0][0]).total_seconds() <= 5, "the missing ten are asked for soon"
    assert (launches[1][0] - launches[0][0]).total_seconds() >= 0, "and no job waits behind them"
    world.run(40)
    assert {world.buildkite.job(job).state for job in jobs} == {JobState.RUNNING}
    assert len(world.idle()) == 10


def test_a_job_of_another_class_starts_within_five_seconds_of_a_cold_start_where_idle_vms_fill_the_deployment() -> None:
    world = World(document(hot=4), settings={"MAX_INSTANCES": "4"})
    assert len(world.idle()) == 4
    (job,) = world.push(rules=("class=other",), seconds=60)
    assert world.until(job, JobState.RUNNING) <= cold_start() + 5
    assert [one["reason"] for one in world.said("standby_closed")] == [Closing.PREEMPTED]
    assert len(world.idle()) == 3
    world.run(30)
    assert len(world.idle()) == 3, "the job is there still: nothing takes its room"


def test_the_same_for_a_quota_that_idle_vms_fill() -> None:
    ec2 = {"quotas": {"on-demand:standard": 8}}  # four VMs of two vCPUs
    world = World(document(hot=4), ec2=ec2)
    (job,) = world.push(rules=("class=other",), seconds=60)
    assert world.until(job, JobState.RUNNING, 90) <= cold_start() + 5
    assert [one["reason"] for one in world.said("standby_closed")] == [Closing.PREEMPTED]


def test_the_same_for_max_vcpus() -> None:
    world = World(document(hot=4), settings={"MAX_VCPUS": "8"})
    assert len(world.idle()) == 4
    (job,) = world.push(rules=("class=other",), seconds=60)
    assert world.until(job, JobState.RUNNING) <= cold_start() + 5
    assert len(world.up()) + len(world.up(name="other", standby=False)) <= 4


def test_no_vm_is_launched_to_stand_by_while_jobs_wait_for_a_place() -> None:
    world = World(document(hot=2), settings={"MAX_INSTANCES": "3"})
    since = world.kernel.now()
    world.push(9, seconds=30, rules=("class=other",))
    world.run(60)
    assert not [launch for launch in world.fleets(since) if launch[2]]


@pytest.mark.parametrize(
    "ec2",
    [
        {"quotas": {"on-demand:standard": 100, "on-demand:g-vt": 4}},
        {"capacity": {f"on-demand:g6.xlarge:eu-central-1{zone}": 0 for zone in "ab"}},
    ],
    ids=["quota", "capacity"],
)
def test_jobs_of_another_class_that_wait_for_ec2_alone_keep_no_vm_from_standing_by(ec2: dict[str, Any]) -> None:
    gpu = {**OTHER, "instance_types": ["g6.xlarge"]}
    classes = {**json.loads(document(hot=2))["classes"], "gpu": gpu}
    world = World(json.dumps({"classes": classes, "default_class": "default"}), ec2=ec2)
    waiting = world.push(3, seconds=400, rules=("class=gpu",))
    world.run(30)
    since = world.kernel.now()
    world.push(2, seconds=100)
    world.run(20)
    states = {world.buildkite.job(job).state for job in waiting}
    assert states & {JobState.SCHEDULED, JobState.RESERVED}, "they wait"
    taken = [(at, count) for at, count, standby in world.fleets(since) if standby]
    assert sum(count for _, count in taken) == 2
    assert all((at - since).total_seconds() <= 10 for at, _ in taken)


def test_a_dead_hot_vm_costs_its_job_twenty_seconds_and_the_job_gets_a_cold_one() -> None:
    world = World(document(hot=1), seconds=200)
    world.vms[world.idle()[0].instance_id].stop()  # it hangs, and EC2 shows it running
    (job,) = world.push()
    took = world.until(job, JobState.RUNNING, 120)
    assert 20 <= took <= 20 + 3 + cold_start(), "the dispatcher woke the tracker, which is asleep while VMs are idle"
    (run,) = [run for run in world.store.runs.values() if run.job_id == job]
    assert run.binding is not None
    assert not run.binding.standby
    assert run.attempt == 2


def test_a_dead_hot_vm_does_not_end_a_job_that_may_have_one_attempt() -> None:
    world = World(document(hot=1), settings={"MAX_LAUNCH_ATTEMPTS": "1"}, seconds=200)
    world.vms[world.idle()[0].instance_id].stop()
    (job,) = world.push(seconds=5)
    world.run(90)
    assert (world.buildkite.job(job).state, world.buildkite.job(job).exit_status) == (JobState.FINISHED, 0)


def test_three_misses_in_a_row_suspend_the_class_and_its_jobs_start_cold() -> None:
    world = World(document(hot=3), seconds=200)
    for one in world.idle():
        world.vms[one.instance_id].stop()
    jobs = world.push(3, seconds=5)
    world.run(100)
    assert {world.buildkite.job(job).state for job in jobs} == {JobState.FINISHED}
    assert len(world.said("standby_suspended")) == 1
    assert world.telemetry.peaks[Metric.STANDBY_SUSPENDED] == 1
    world.run(60)
    assert world.idle() == []
    world.run(16 * 60)
    assert len(world.idle()) == 3, "after a quarter of an hour it tries again"


def test_vms_that_end_unprepared_are_asked_for_ever_more_slowly_with_the_reason() -> None:
    world = World(document(hot=1), temper=Temper(fails_booting=1.0, boot=(2.0, 2.0)), seconds=60)
    since = world.kernel.now()
    world.run(3600)
    assert 4 <= len(world.fleets(since)) <= 16
    reasons = {one["reason"] for one in world.said("standby_unprepared")}
    assert all("powered itself off before it was prepared" in reason for reason in reasons)
    assert max(one["pause_seconds"] for one in world.said("standby_unprepared")) == 900


def test_idle_vms_keep_no_tracker_busy_and_cost_next_to_no_calls() -> None:
    world = World(document(hot=10), seconds=240)
    world.billed["tracker"].clear()
    begin = len(world.points)
    world.run(600)
    assert sum(world.billed["tracker"]) <= 10 * 2, "one short invocation a minute"
    calls = Counter(point for point in world.points[begin:])
    assert calls["dispatcher standby.listed"] <= 600 / 30 + 12 * 2
    assert calls["dispatcher ledger.active_runs"] <= 600 / 30 + 12 * 2
    assert calls["tracker standby.listed"] <= 12


def test_a_job_has_its_whole_lifetime_on_a_vm_that_stood_by_for_long() -> None:
    """The VM is older than MaxLifetimeSeconds when it gets the job."""
    world = World(document(hot=1, minutes=60), seconds=130)
    world.run(1000)
    old = world.idle()[0]
    assert (world.kernel.now() - old.launched_at).total_seconds() > 900
    (job,) = world.push(seconds=600)
    world.run(620)
    assert (world.buildkite.job(job).state, world.buildkite.job(job).exit_status) == (JobState.FINISHED, 0)
