"""Quotas are ceilings: jobs wait for room under them, and are told which quota it is. On the virtual clock."""

from datetime import timedelta

import pytest

from tests.bench.refusals import (
    CLASSES,
    SETTINGS,
    a_class,
    a_large_one_beside_small_ones,
    another_workload,
    five_vcpus,
    gpu_without_quota,
    no_quota,
    world,
)
from tests.simulator.cloud.quotas import Workload

pytestmark = pytest.mark.share(3)


@pytest.mark.parametrize("answer", ["part", "nothing"])
def test_twenty_jobs_run_under_five_vcpus(answer: str) -> None:
    played = five_vcpus(answer)
    assert (played.ran(), played.reasons()) == (20, [])
    assert len(played.fleets) <= 40
    assert "Running On-Demand Standard" in played.told("default")
    assert "VcpuLimitExceeded" in played.told("default")


def test_another_workload_takes_and_releases_the_quota() -> None:
    played = another_workload()
    assert (played.ran(), played.reasons()) == (10, [])


def test_small_jobs_do_not_starve_a_large_one() -> None:
    played = a_large_one_beside_small_ones()
    (large,) = played.jobs("large")
    (vm,) = [vm for vm in played.simulation.ec2.instances() if vm.instance_type == "m7i.4xlarge"]
    assert vm.launched_at - large.scheduled_at < timedelta(minutes=15)
    assert (played.ran(), played.reasons()) == (89, [])


def test_without_any_quota_jobs_end_at_their_deadline_with_the_quotas_name() -> None:
    played = no_quota()
    assert len(played.reasons("gpu")) == 4
    assert 600 <= played.seconds < 700
    for reason in played.reasons("gpu"):
        assert "Running On-Demand G and VT instances" in reason
        assert "VcpuLimitExceeded" in reason
    assert len(played.fleets) <= 6
    assert "0 vCPUs by this stack" in played.told("gpu")


def test_a_quota_that_another_workload_holds_lets_the_deadline_run() -> None:
    other = Workload(bucket="on-demand:standard", vcpus=4)
    played = world(quotas={"on-demand:standard": 5}, workloads=(other,))
    played.push(2)
    played.until_over(900)
    assert len(played.reasons()) == 2
    assert played.seconds < 700


def test_the_deadline_goes_on_where_it_stood_when_the_quota_is_lost_to_others() -> None:
    """VMs of this deployment hold the quota for some 370 s beside the deadline's 600; then something else does."""
    other = Workload(bucket="on-demand:standard", vcpus=5, starts=timedelta(seconds=300))
    played = world(quotas={"on-demand:standard": 5}, workloads=(other,))
    played.push(4, seconds=350)
    played.until_over(1_500)
    assert (played.ran(), len(played.reasons())) == (2, 2)
    assert 850 < played.seconds < 1_150


def test_a_class_without_quota_delays_no_job_of_another_class() -> None:
    with_gpu = gpu_without_quota()
    alone = world()
    alone.run(30)
    alone.push(1)
    (job, other) = (*with_gpu.jobs("default"), *alone.jobs("default"))
    alone.until_over(300)
    assert with_gpu.ran("default") == 1
    first = min(vm.launched_at for vm in with_gpu.simulation.ec2.instances()) - job.scheduled_at
    second = min(vm.launched_at for vm in alone.simulation.ec2.instances()) - other.scheduled_at
    assert (first - second).total_seconds() < 2 + 3  # the launch itself takes 0.3 to 3 s in these worlds


def test_of_a_full_quota_jobs_stay_with_buildkite_until_there_is_room() -> None:
    played = world(quotas={"on-demand:standard": 4})
    played.push(2, seconds=200)
    played.run(20)
    played.push(1, seconds=5)
    played.run(40)  # this one finds out that the quota is full
    played.push(6, seconds=5)
    played.run(60)
    reserved = [run for run in played.simulation.store.runs.values() if run.binding is None]
    assert len(reserved) == 1
    played.until_over(900)
    assert (played.ran(), played.reasons()) == (9, [])


def test_what_is_more_urgent_than_all_that_wait_gets_the_next_room() -> None:
    played = world(quotas={"on-demand:standard": 2})
    played.push(1, seconds=100)
    played.run(10)
    played.push(2, seconds=60)
    played.run(30)
    played.push(1, seconds=5, priority=9)
    urgent = played.pushed["default"][-1]
    played.run(150)
    assert played.simulation.buildkite.job(urgent).exit_status == 0
    assert played.left() >= 1
    played.until_over(900)
    assert played.ran() == 4


def test_a_class_of_two_families_goes_on_in_the_one_that_has_room() -> None:
    classes = {"default": a_class("m7i.large", "g5.xlarge")}
    played = world(classes=classes, quotas={"on-demand:standard": 4})
    played.push(6, seconds=30)
    played.until_over(300)
    assert (played.ran(), played.reasons()) == (6, [])
    assert {vm.instance_type for vm in played.simulation.ec2.instances()} == {"m7i.large", "g5.xlarge"}


def test_max_vcpus_counts_true_vcpus() -> None:
    settings = {**SETTINGS, "MAX_VCPUS": "20"}
    played = world(classes=CLASSES, settings=settings)
    played.push(3, "large", seconds=30)
    played.push(10, seconds=30)
    most = 0
    for _ in range(300):
        played.run(1)
        up = [vm for vm in played.simulation.ec2.instances() if vm.state in {"pending", "running"}]
        most = max(most, sum(16 if vm.instance_type == "m7i.4xlarge" else 2 for vm in up))
        if not played.left():
            break
    assert played.ran() == 13
    assert 16 < most <= 20


def test_what_was_learnt_of_a_quota_outlives_the_process() -> None:
    played = world(quotas={"on-demand:standard": 4}, warm=False)
    played.push(8, seconds=60)
    played.until_over(900)
    assert (played.ran(), played.reasons()) == (8, [])
    assert len(played.fleets) <= 30


def test_a_vm_that_is_larger_than_its_quota_ends_at_its_deadline_and_holds_up_no_small_one() -> None:
    played = world(quotas={"on-demand:standard": 8})
    played.push(1, "large")
    for _ in range(50):
        played.push(1, seconds=40)
        played.run(20)
    assert played.left("default") <= 8  # three at a time are pushed as fast as four can run
    played.until_over(300)
    assert played.ran("default") == 50
    (reason,) = played.reasons()
    assert "Running On-Demand Standard" in reason


def test_a_spot_quota_that_is_full_lets_a_class_that_may_fall_back() -> None:
    played = world(quotas={"spot:standard": 0})
    played.push(4, "spot")
    assert played.until_over(120) < 60
    assert {vm.capacity_type for vm in played.simulation.ec2.instances()} == {"on-demand"}
    assert played.ran() == 4
