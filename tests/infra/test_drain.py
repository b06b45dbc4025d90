"""What `scripts/drain` does to a deployed stack, and what it waits for."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from moto import mock_aws

from agent_stack.adapters.dynamodb.holds import holds_values
from agent_stack.adapters.dynamodb.items import packed
from agent_stack.domain.holds import Hold, Holds
from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId
from agent_stack_cli.errors import CliError
from infra.drain import DEPLOYMENT_TAG, LOOK_SECONDS, Drain
from tests.simulator.clock import EPOCH

TEMPLATE = {
    "Parameters": {"LaunchEnabled": {"Type": "String"}, "MaxInstances": {"Type": "Number"}},
    "Outputs": {"LedgerTable": {"Value": {"Ref": "Ledger"}}},
    "Resources": {
        "Ledger": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            },
        },
        "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": {"Ref": "LaunchEnabled"}}},
    },
}


@dataclass
class World:
    """One account, and who drains in it."""

    cloudformation: Any
    ec2: Any
    dynamodb: Any
    said: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    after: dict[int, str] = field(default_factory=dict)

    def drain(self, stack: str = "stack", seconds: float = 600) -> bool:
        return Drain(
            cloudformation=self.cloudformation,
            ec2=self.ec2,
            dynamodb=self.dynamodb,
            stack=stack,
            say=self.said.append,
            sleep=self._sleep,
        )(at_most_seconds=seconds)

    def vm(self, stack: str) -> str:
        tags = [{"ResourceType": "instance", "Tags": [{"Key": DEPLOYMENT_TAG, "Value": stack}]}]
        image = self.ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        run = self.ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=tags)
        return str(run["Instances"][0]["InstanceId"])

    def parameters(self) -> dict[str, str]:
        (stack,) = self.cloudformation.describe_stacks(StackName="stack")["Stacks"]
        return {p["ParameterKey"]: p["ParameterValue"] for p in stack["Parameters"]}

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        ends = self.after.get(len(self.slept))
        if ends is not None:
            self.ec2.terminate_instances(InstanceIds=[ends])


@pytest.fixture
def world() -> Iterator[World]:
    keys = {"region_name": "eu-central-1", "aws_access_key_id": "AKID", "aws_secret_access_key": "secret"}
    with mock_aws():
        cloudformation: Any = boto3.client("cloudformation", **keys)  # type: ignore[call-overload]  # moto's keys
        made = World(
            cloudformation=cloudformation,
            ec2=boto3.client("ec2", **keys),  # type: ignore[call-overload]  # as above
            dynamodb=boto3.client("dynamodb", **keys),  # type: ignore[call-overload]  # as above
        )
        cloudformation.create_stack(
            StackName="stack",
            TemplateBody=json.dumps(TEMPLATE),
            Parameters=[
                {"ParameterKey": "LaunchEnabled", "ParameterValue": "true"},
                {"ParameterKey": "MaxInstances", "ParameterValue": "7"},
            ],
        )
        yield made


def test_launching_ends_first_and_no_other_parameter_changes(world: World) -> None:
    assert world.drain()
    assert world.parameters() == {"LaunchEnabled": "false", "MaxInstances": "7"}
    assert world.said[-1].startswith("No VM of stack lives.")


def test_it_waits_until_the_last_vm_of_this_stack_is_gone(world: World) -> None:
    first, second = world.vm("stack"), world.vm("stack")
    world.vm("another")
    world.after = {2: first, 4: second}
    assert world.drain()
    assert world.slept == [LOOK_SECONDS] * 4
    assert sum("VMs live" in line for line in world.said) == 2


def test_it_gives_up_waiting_and_says_how_to_go_on(world: World) -> None:
    world.vm("stack")
    assert not world.drain(seconds=60)
    assert world.said[-1].endswith("Next: scripts/drain stack")


def test_a_second_run_changes_nothing(world: World) -> None:
    world.drain()
    world.said.clear()
    assert world.drain()
    assert "already" in world.said[0]


def test_a_stack_of_somebody_else_is_left_alone(world: World) -> None:
    body = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
    world.cloudformation.create_stack(StackName="other", TemplateBody=body)
    with pytest.raises(CliError, match="no stack of this project"):
        world.drain("other")


def test_a_held_vm_is_not_waited_for(world: World) -> None:
    instance_id = world.vm("stack")
    hold = Hold(
        instance_id=InstanceId(instance_id),
        arn=InstanceArn(""),
        class_name=ClassName("default"),
        until=EPOCH,
    )
    (stack,) = world.cloudformation.describe_stacks(StackName="stack")["Stacks"]
    (table,) = [output["OutputValue"] for output in stack["Outputs"]]
    item = packed({"pk": "holds", "sk": "list", **holds_values(Holds(version=1, vms=(hold,)))})
    world.dynamodb.put_item(TableName=table, Item=item)
    assert world.drain()
    assert world.slept == []
