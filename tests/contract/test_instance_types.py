"""What is known of instance types: EC2's adapter through real botocore, and what stands for it in tests."""

import boto3
import pytest
from botocore.config import Config

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.ec2 import errors
from agent_stack.adapters.ec2.instance_types import MAX_TYPES, Ec2InstanceTypes
from agent_stack.domain.errors import RetryError, WaitError
from agent_stack.ports import InstanceTypes
from tests.simulator.clock import FixedDeadline, VirtualClock
from tests.simulator.cloud import Ec2, LaunchTemplateData, Settings, Subnet, attach
from tests.simulator.cloud.catalogue import catalogue
from tests.simulator.identity import SeededIds
from tests.simulator.memory import MemoryInstanceTypes


def over_botocore() -> tuple[Ec2InstanceTypes, Ec2]:
    """The adapter, and the EC2 that it asks."""
    clock = VirtualClock()
    ec2 = Ec2(
        now=clock.now,
        settings=Settings(subnets={"subnet-a": Subnet(zone="a")}),
        launch_templates=lambda _id, _version: LaunchTemplateData(),
    )
    client = boto3.client(
        "ec2",
        region_name="eu-central-1",
        aws_access_key_id="AKID",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}),
    )
    attach(client, ec2)
    calls = AwsCalls(
        clock=clock,
        ids=SeededIds(),
        deadline=FixedDeadline(),
        throttles=errors.NOTHING_DONE,
        server_errors=errors.SERVER,
    )
    return Ec2InstanceTypes(client=lambda: client, calls=calls), ec2


@pytest.fixture(params=["botocore", "memory"])
def types(request: pytest.FixtureRequest) -> InstanceTypes:
    return over_botocore()[0] if request.param == "botocore" else MemoryInstanceTypes()


def test_vcpus_are_those_of_one_vm(types: InstanceTypes) -> None:
    found = types.vcpus(["m7i.large", "m7i.4xlarge", "g5.xlarge"])
    assert found == {"m7i.large": 2, "m7i.4xlarge": 16, "g5.xlarge": 4}


def test_a_type_that_ec2_does_not_know_is_left_out_and_costs_the_others_nothing(types: InstanceTypes) -> None:
    assert types.vcpus(["m7i.large", "m99.of-tomorrow"]) == {"m7i.large": 2}
    assert types.vcpus([]) == {}


def test_any_number_of_types_is_looked_up(types: InstanceTypes) -> None:
    wanted = sorted(catalogue())[: 2 * MAX_TYPES + 1]
    assert types.vcpus(wanted) == {name: catalogue()[name].vcpus for name in wanted}


def test_a_refusal_and_a_throttle_are_errors_of_the_tree() -> None:
    types, ec2 = over_botocore()
    ec2.faults.fail("DescribeInstanceTypes", "UnauthorizedOperation", status=403)
    with pytest.raises(WaitError):
        types.vcpus(["m7i.large"])
    ec2.faults.fail("DescribeInstanceTypes", "RequestLimitExceeded", status=503, times=9)
    with pytest.raises(RetryError):
        types.vcpus(["m7i.large"])
