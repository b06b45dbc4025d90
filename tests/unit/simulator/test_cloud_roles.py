"""The fake EC2 asks IAM, with the roles of the deployed template, over HTTP and on the virtual clock alike."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from agent_stack.adapters.ec2.requests import LaunchTemplate, create_fleet
from agent_stack.domain.classes import VmClass
from agent_stack.domain.identifiers import ClassName, IntentId
from agent_stack.domain.launching import LaunchOrder
from agent_stack.domain.policy import LaunchPolicy
from agent_stack.domain.states import CapacityType
from tests.infra.required_actions import DISPATCHER, TRACKER
from tests.infra.stacks import EVERYTHING, deployed
from tests.simulator.clock import VirtualClock
from tests.simulator.cloud import Caller, Ec2, Ec2Server, LaunchTemplateData, Settings, Subnet
from tests.simulator.cloud.authorisation import decoded
from tests.simulator.deployment import ACCOUNT
from tests.simulator.iam import Policies
from tests.simulator.simulation.direct import DirectClient
from tests.unit.simulator.region import codes, refusal

STACK = deployed(EVERYTHING)
TAG = {"agent-stack:deployment": "ci"}
KEYS = {"ASIADISPATCHER": DISPATCHER, "ASIATRACKER": TRACKER}
SUBNET = "subnet-0123456789abcdef0"
DISK = "/dev/xvda"


def environment(name: str) -> str:
    return str(STACK.resources["DispatcherFunction"]["Properties"]["Environment"]["Variables"][name])


def template(template_id: str, _version: str, *, http_tokens: str = "required") -> LaunchTemplateData:
    return LaunchTemplateData(
        tags=TAG,
        tags_of=dict.fromkeys(("volume", "network-interface"), TAG),
        security_groups=tuple(
            STACK.resources["LaunchTemplate"]["Properties"]["LaunchTemplateData"]["SecurityGroupIds"]
        ),
        role=STACK.arn("InstanceRole"),
        http_tokens=http_tokens,
    )


def an_ec2(**changes: Any) -> Ec2:  # noqa: ANN401  (the settings' own)
    subnets = {SUBNET: Subnet(zone="eu-central-1a", vpc=EVERYTHING["VpcId"])}
    settings = Settings(account_id=ACCOUNT, subnets=subnets, **changes)
    return Ec2(now=VirtualClock().now, settings=settings, launch_templates=template)


def caller(key: str) -> Caller | None:
    role = KEYS.get(key)
    if role is None:
        return None
    return Caller(arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/x", policies=Policies(STACK.policies(role)))


def request(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  (the request's own)
    """What the dispatcher sends."""
    order = LaunchOrder(
        intent_id=IntentId("as-1"),
        vm_class=VmClass(name=ClassName("default"), instance_types=("m7i.large",), image="ami-1", root_device=DISK),
        capacity_type=CapacityType.ON_DEMAND,
        count=1,
        pools=("on-demand:m7i.large:eu-central-1a",),
    )
    text = create_fleet(
        order,
        deployment=environment("DEPLOYMENT"),
        template=LaunchTemplate(template_id=environment("LAUNCH_TEMPLATE_ID"), version="1"),
        subnet_of=lambda _zone: SUBNET,
        policy=LaunchPolicy(),
    )
    return {**json.loads(text), **changes}


@pytest.fixture
def ec2() -> Ec2:
    return an_ec2()


@pytest.fixture
def server(ec2: Ec2) -> Iterator[Ec2Server]:
    with Ec2Server(ec2, callers=caller) as serving:
        yield serving


def client(server: Ec2Server, key: str) -> Any:  # noqa: ANN401  (requests are dictionaries here)
    return boto3.client(
        "ec2",
        endpoint_url=server.origin,
        region_name="eu-central-1",
        aws_access_key_id=key,
        aws_secret_access_key="any",
        config=Config(retries={"total_max_attempts": 1}),
    )


def test_the_dispatchers_role_launches_and_the_trackers_ends_what_it_launched(ec2: Ec2, server: Ec2Server) -> None:
    answer = client(server, "ASIADISPATCHER").create_fleet(**request())
    assert answer["Errors"] == []
    ((instance_id,),) = [group["InstanceIds"] for group in answer["Instances"]]
    with pytest.raises(ClientError) as raised:
        client(server, "ASIADISPATCHER").terminate_instances(InstanceIds=[instance_id])
    assert refusal(raised) == "UnauthorizedOperation"
    client(server, "ASIATRACKER").terminate_instances(InstanceIds=[instance_id])
    assert ec2.instances()[0].state == "shutting-down"


def test_the_trackers_role_ends_nothing_of_others(ec2: Ec2, server: Ec2Server) -> None:
    foreign = ec2.launch_orphan(tags={"agent-stack:deployment": "another"}, subnet_id=SUBNET)
    own = ec2.launch_orphan(tags=TAG, subnet_id=SUBNET)
    with pytest.raises(ClientError) as raised:
        client(server, "ASIATRACKER").terminate_instances(InstanceIds=[own.instance_id, foreign.instance_id])
    said = decoded(raised.value.response["Error"]["Message"])
    assert said["context"]["resource"].endswith(foreign.instance_id)
    assert {instance.state for instance in ec2.instances()} == {"pending"}  # one denial denies all of them


def test_a_denied_fleet_is_refused_as_a_whole_with_an_encoded_message(ec2: Ec2, server: Ec2Server) -> None:
    specification = {"LaunchTemplateId": "lt-0ffffffffffffffff", "Version": "1"}
    other = request()
    other["LaunchTemplateConfigs"][0]["LaunchTemplateSpecification"] = specification
    with pytest.raises(ClientError) as raised:
        client(server, "ASIADISPATCHER").create_fleet(**other)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    message = raised.value.response["Error"]["Message"]
    assert message.startswith("You are not authorized to perform this operation. User: arn:aws:sts::")
    assert "because no identity-based policy allows the ec2:CreateFleet action" in message
    said = decoded(message)
    assert (said["allowed"], said["explicitDeny"], said["context"]["action"]) == (False, False, "ec2:CreateFleet")
    assert said["context"]["resource"].endswith("launch-template/lt-0ffffffffffffffff")
    assert ec2.instances() == ()


def test_a_denied_launch_inside_a_fleet_is_an_error_of_its_override(server: Ec2Server) -> None:
    bare = request()
    (override,) = bare["LaunchTemplateConfigs"][0]["Overrides"]
    override["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] = False
    bare["LaunchTemplateConfigs"][0]["Overrides"].append({**request_override(), "InstanceType": "m7a.large"})
    answer = client(server, "ASIADISPATCHER").create_fleet(**bare)
    assert codes(answer) == ["UnauthorizedOperation"]
    assert "with an explicit deny" in answer["Errors"][0]["ErrorMessage"]
    assert answer["Errors"][0]["LaunchTemplateAndOverrides"]["Overrides"]["InstanceType"] == "m7i.large"
    assert decoded(answer["Errors"][0]["ErrorMessage"])["context"]["action"] == "ec2:RunInstances"
    assert [group["InstanceType"] for group in answer["Instances"]] == ["m7a.large"]


def request_override() -> dict[str, Any]:
    override: dict[str, Any] = request()["LaunchTemplateConfigs"][0]["Overrides"][0]
    return override


@pytest.mark.parametrize(("key", "code"), [("ASIANOBODY", "AuthFailure"), ("ASIADISPATCHER", "UnauthorizedOperation")])
def test_others_and_roles_without_the_permission_are_denied_a_look(server: Ec2Server, key: str, code: str) -> None:
    with pytest.raises(ClientError) as raised:
        client(server, key).describe_instance_status(Filters=[])
    assert refusal(raised) == code


def test_a_dry_run_is_about_permissions_only(ec2: Ec2, server: Ec2Server) -> None:
    for key, code in (("ASIADISPATCHER", "DryRunOperation"), ("ASIATRACKER", "UnauthorizedOperation")):
        with pytest.raises(ClientError) as raised:
            client(server, key).create_fleet(**request(DryRun=True))
        assert refusal(raised) == code
    assert ec2.instances() == ()


def test_an_iam_that_does_not_see_the_templates_tags_denies_interfaces_that_the_request_does_not_tag() -> None:
    strict = an_ec2(fleet_sees_template_tags=False)
    tags = [one for one in request()["TagSpecifications"] if one["ResourceType"] != "network-interface"]
    with pytest.raises(ClientError) as raised:
        DirectClient(strict, caller("ASIADISPATCHER")).create_fleet(**request(TagSpecifications=tags))
    said = decoded(raised.value.response["Error"]["Message"])
    assert said["context"]["resource"].endswith("network-interface/*")
    assert DirectClient(strict, caller("ASIADISPATCHER")).create_fleet(**request())["Errors"] == []


def test_on_the_virtual_clock_the_same_roles_hold(ec2: Ec2) -> None:
    assert DirectClient(ec2, caller("ASIADISPATCHER")).create_fleet(**request())["Errors"] == []
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        DirectClient(ec2, caller("ASIATRACKER")).create_fleet(**request())
