"""vCPU quotas of the fake EC2: ceilings by family group and capacity type, in the vCPUs of each type."""

from datetime import timedelta
from typing import Any

import pytest

from tests.simulator.cloud import Workload
from tests.simulator.cloud.catalogue import catalogue
from tests.simulator.cloud.quotas import BUCKETS, bucket_of
from tests.unit.simulator.region import SECOND, Region

SPOT: dict[str, Any] = {"DefaultTargetCapacityType": "spot", "TotalTargetCapacity": 3}
FIVE = {"on-demand:standard": 5}


def launched(answer: dict[str, Any]) -> int:
    return sum(len(group["InstanceIds"]) for group in answer["Instances"])


def codes(answer: dict[str, Any]) -> list[str]:
    return [error["ErrorCode"] for error in answer["Errors"]]


@pytest.mark.parametrize(
    ("instance_type", "bucket"),
    [
        *(
            (name, "standard")
            for name in ("m7i.large", "c7g.large", "t3.micro", "im4gn.large", "is4gen.large", "z1d.large")
        ),
        *(("g5.xlarge", "g-vt"), ("gr6.4xlarge", "g-vt"), ("vt1.3xlarge", "g-vt"), ("p4d.24xlarge", "p")),
        *(("dl2q.24xlarge", "dl"), ("trn1.2xlarge", "trn"), ("inf2.xlarge", "inf"), ("f2.6xlarge", "f")),
        *(("x2gd.medium", "x"), ("u7i-12tb.224xlarge", "high-memory"), ("hpc7a.96xlarge", "hpc")),
    ],
)
def test_each_family_counts_in_its_group(instance_type: str, bucket: str) -> None:
    assert bucket_of(instance_type) == bucket


def test_every_type_of_the_catalogue_has_a_group() -> None:
    assert {bucket_of(name) for name in catalogue()} == set(BUCKETS)


def test_a_request_above_the_ceiling_gets_the_part_that_fits() -> None:
    answer = Region(quotas=FIVE).fleet(3)
    assert (launched(answer), codes(answer)) == (2, ["VcpuLimitExceeded"])
    (error,) = answer["Errors"]
    assert "your current vCPU limit of 5" in error["ErrorMessage"]
    assert "the instance bucket that the specified instance type belongs to" in error["ErrorMessage"]


def test_in_another_mode_it_gets_nothing() -> None:
    region = Region(quotas=FIVE, quota_answer="nothing")
    answer = region.fleet(3)
    assert (launched(answer), codes(answer)) == (0, ["VcpuLimitExceeded"])
    assert launched(region.fleet(2)) == 2


def test_a_type_counts_with_its_own_vcpus() -> None:
    region = Region(quotas={"on-demand:standard": 20})
    assert launched(region.fleet(2, types=("m7i.4xlarge",))) == 1
    assert launched(region.fleet(3)) == 2


def test_spot_and_on_demand_and_other_groups_have_ceilings_of_their_own() -> None:
    region = Region(quotas={**FIVE, "spot:standard": 2, "on-demand:g-vt": 0})
    assert codes(region.fleet(3)) == ["VcpuLimitExceeded"]
    spot = region.fleet(
        TargetCapacitySpecification=SPOT, SpotOptions={"AllocationStrategy": "price-capacity-optimized"}
    )
    assert (launched(spot), codes(spot)) == (1, ["MaxSpotInstanceCountExceeded"])
    assert codes(region.fleet(1, types=("g5.xlarge",))) == ["VcpuLimitExceeded"]
    assert launched(region.fleet(1, types=("inf2.xlarge",))) == 1


def test_pending_and_running_instances_count_and_others_do_not() -> None:
    region = Region(quotas=FIVE)
    first, _ = region.launch(2)
    assert launched(region.fleet(1)) == 0
    region.clock.sleep(20 * SECOND)
    assert launched(region.fleet(1)) == 0
    region.client.terminate_instances(InstanceIds=[first])
    assert launched(region.fleet(1)) == 1


def test_a_ceiling_can_move() -> None:
    region = Region(quotas=FIVE)
    region.ec2.quotas.ceilings["on-demand:standard"] = 0
    assert launched(region.fleet(1)) == 0
    del region.ec2.quotas.ceilings["on-demand:standard"]
    assert launched(region.fleet(100)) == 100


def test_another_workload_takes_and_releases_vcpus_on_a_schedule() -> None:
    batch = Workload(
        bucket="on-demand:standard", vcpus=4, starts=10 * SECOND, lasts=5 * SECOND, every=timedelta(minutes=1)
    )
    region = Region(quotas=FIVE, workloads=(batch,), shutting_down=timedelta())
    free = []
    for _ in range(16):
        ids = region.launch(2)
        free.append(len(ids))
        if ids:
            region.client.terminate_instances(InstanceIds=ids)
        region.clock.sleep(5 * SECOND)
    assert free == [2, 2, 0, *[2] * 11, 0, 2]


def test_another_workload_can_take_vcpus_at_any_time() -> None:
    region = Region(quotas=FIVE)
    region.ec2.quotas.occupied["on-demand:standard"] = 5
    assert launched(region.fleet(1)) == 0
    region.ec2.quotas.occupied.clear()
    assert launched(region.fleet(1)) == 1


def test_run_instances_keeps_to_the_same_ceiling() -> None:
    region = Region(quotas=FIVE)
    request = {"ImageId": "ami-1", "InstanceType": "m7i.large", "SubnetId": "subnet-a"}
    assert len(region.client.run_instances(MinCount=1, MaxCount=3, **request)["Instances"]) == 2
    with pytest.raises(region.client.exceptions.ClientError, match="VcpuLimitExceeded"):
        region.client.run_instances(MinCount=1, MaxCount=1, **request)
