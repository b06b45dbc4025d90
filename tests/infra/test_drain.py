"""What `scripts/drain` does to a deployed stack, and what it waits for."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto import mock_aws

from agent_stack.adapters.dynamodb import items
from agent_stack.adapters.dynamodb.holds import holds_values
from agent_stack.adapters.ec2.requests import DEPLOYMENT_TAG
from agent_stack.domain.holds import Hold, Holds
from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId, IntentId, QueueKey
from agent_stack.domain.launching import Intent
from agent_stack_cli.drain import LOOK_SECONDS
from agent_stack_cli.errors import CliError
from agent_stack_cli.session import Session
from agent_stack_cli.stacks import NEEDED, find
from infra.drain import SETTLE_SECONDS, Drain
from tests.simulator.clock import EPOCH
from tests.simulator.deployment import translated_template

TEMPLATE = {
    "Parameters": {"LaunchEnabled": {"Type": "String"}, "MaxInstances": {"Type": "Number"}},
    "Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": {"Ref": "LaunchEnabled"}}}},
    "Outputs": {name: {"Value": f"the-{name}"} for name in NEEDED},
}
LEDGER = "the-LedgerTable"
LOOKS = SETTLE_SECONDS // LOOK_SECONDS


@dataclass
class World:
    """One account, and who drains in it."""

    cloudformation: Any
    ec2: Any
    dynamodb: Any
    said: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    after: dict[int, Callable[[], object]] = field(default_factory=dict)

    def drain(self, stack: str = "stack", seconds: float = 600) -> bool:
        found = find(Session(region="eu-central-1"), stack)
        return Drain(stack=found, say=self.said.append, sleep=self._sleep)(at_most_seconds=seconds)

    def end(self, instance_id: str) -> None:
        self.ec2.terminate_instances(InstanceIds=[instance_id])

    def on_its_way(self, intent_id: str) -> None:
        """A launch that the dispatcher wrote down, and that EC2 has not answered."""
        intent = Intent(
            intent_id=IntentId(intent_id),
            class_name=ClassName("default"),
            request="{}",
            count=1,
            queues=(QueueKey("default"),),
            created_at=datetime.now(UTC),
        )
        self.dynamodb.put_item(
            TableName=LEDGER, Item={**items.key("intent", intent_id), **items.packed(items.intent_values(intent))}
        )

    def answered(self, intent_id: str) -> None:
        self.dynamodb.delete_item(TableName=LEDGER, Key=items.key("intent", intent_id))

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
        self.after.get(len(self.slept), bool)()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name, value in {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        session = boto3.Session(region_name="eu-central-1")
        cloudformation: Any = session.client("cloudformation")
        made = World(cloudformation=cloudformation, ec2=session.client("ec2"), dynamodb=session.client("dynamodb"))
        made.dynamodb.create_table(
            TableName=LEDGER,
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            BillingMode="PAY_PER_REQUEST",
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


@pytest.mark.share(6)
def test_it_waits_until_the_last_vm_of_this_stack_is_gone(world: World) -> None:
    first, second = world.vm("stack"), world.vm("stack")
    world.vm("another")
    world.after = {2: lambda: world.end(first), LOOKS + 3: lambda: world.end(second)}
    assert world.drain()
    assert world.slept == [LOOK_SECONDS] * (LOOKS + 3)
    assert sum("VMs live" in line for line in world.said) == 2


def test_a_launch_on_its_way_is_waited_for_as_a_vm_is(world: World) -> None:
    world.on_its_way("as-1")
    world.after = {LOOKS + 2: lambda: world.answered("as-1")}
    assert world.drain()
    assert world.slept == [LOOK_SECONDS] * (LOOKS + 2)
    assert "1 launches are not settled yet" in world.said


def test_an_invocation_of_before_may_launch_until_it_ends(world: World) -> None:
    """Nothing is there at first; the VM comes when nothing has been left for a while."""
    came: list[str] = []
    world.after = {LOOKS - 1: lambda: came.append(world.vm("stack")), LOOKS + 4: lambda: world.end(came[0])}
    assert world.drain()
    assert world.slept == [LOOK_SECONDS] * (LOOKS + 4)
    assert translated_template(region="eu-central-1")["Resources"]["DispatcherFunction"]["Properties"]["Timeout"] == (
        SETTLE_SECONDS
    )


def test_it_gives_up_waiting_and_says_how_to_go_on(world: World) -> None:
    world.vm("stack")
    assert not world.drain(seconds=60)
    assert world.said[-1].startswith("Not drained after 60 s: 1 VMs live: i-")
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
    hold = Hold(
        instance_id=InstanceId(world.vm("stack")), arn=InstanceArn(""), class_name=ClassName("default"), until=EPOCH
    )
    item = items.packed({"pk": "holds", "sk": "list", **holds_values(Holds(version=1, vms=(hold,)))})
    world.dynamodb.put_item(TableName=LEDGER, Item=item)
    assert world.drain()
    assert set(world.slept) <= {LOOK_SECONDS}
    assert "lives" not in world.said[-1]
    assert "1 VMs whose boot failed stay up until 2026-" in world.said[-1]
