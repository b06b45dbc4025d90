"""The templates made by moto's CloudFormation: what a linter cannot see, such as a reference that leads nowhere."""

import json
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import boto3
import pytest

from infra import user_data
from infra.template_yaml import loads
from tests.infra.stacks import REGION, template
from tests.simulator.aws import AwsServer
from tests.simulator.deployment import Resolved, deploy
from tests.simulator.deployment.deploy import NOT_PLAYED, playable

NETWORK = loads((user_data.ROOT / "infra" / "network.yaml").read_text())
EGRESS = {"public": 0, "nat": 1, "nat-per-zone": 3}
"""How many NAT gateways each makes."""


@pytest.fixture
def aws() -> Iterator[AwsServer]:
    server = AwsServer()
    yield server
    server.close()


def client(service: str, aws: AwsServer) -> Any:  # noqa: ANN401  (a client of any service)
    return boto3.client(
        service,  # type: ignore[call-overload]  # any service's name
        region_name=REGION,
        endpoint_url=aws.url,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


def stack_resources(aws: AwsServer, name: str) -> dict[str, str]:
    pages = client("cloudformation", aws).get_paginator("list_stack_resources").paginate(StackName=name)
    return {r["LogicalResourceId"]: r["PhysicalResourceId"] for page in pages for r in page["StackResourceSummaries"]}


def make_network(aws: AwsServer, egress: str) -> dict[str, str]:
    """The nested network by itself, for moto cannot read what a nested stack puts out."""
    parameters = {"Name": "ci", "Cidr": "10.61.0.0/16", "Egress": egress}
    cloudformation = client("cloudformation", aws)
    cloudformation.create_stack(
        StackName="network",
        TemplateBody=json.dumps(playable(NETWORK, Resolved(NETWORK, parameters))),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )
    (stack,) = cloudformation.describe_stacks(StackName="network")["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


@pytest.mark.parametrize("egress", EGRESS)
def test_a_network_has_a_subnet_in_each_zone(egress: str, aws: AwsServer) -> None:
    outputs = make_network(aws, egress)
    ec2 = client("ec2", aws)
    subnets = ec2.describe_subnets(SubnetIds=outputs["Subnets"].split(","))["Subnets"]
    assert len({subnet["AvailabilityZone"] for subnet in subnets}) == len(subnets) == 3
    assert {subnet["MapPublicIpOnLaunch"] for subnet in subnets} == {egress == "public"}
    every = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [outputs["VpcId"]]}])["Subnets"]
    ranges = [ip_network(subnet["CidrBlock"]) for subnet in every]
    assert not any(a.overlaps(b) for n, a in enumerate(ranges) for b in ranges[n + 1 :])
    nats = ec2.describe_nat_gateways(Filters=[{"Name": "vpc-id", "Values": [outputs["VpcId"]]}])["NatGateways"]
    assert len(nats) == EGRESS[egress]
    endpoints = ec2.describe_vpc_endpoints()["VpcEndpoints"]
    assert {endpoint["ServiceName"].rpartition(".")[2] for endpoint in endpoints} == {"s3", "dynamodb"}


@pytest.mark.parametrize("egress", EGRESS)
def test_each_subnet_has_its_way_out(egress: str) -> None:
    """By the resolved template: moto knows no association of a subnet and a route table."""
    stack = Resolved(NETWORK, {"Name": "ci", "Cidr": "10.61.0.0/16", "Egress": egress})
    made = [(resource["Type"], resource["Properties"]) for resource in stack.resources.values()]
    table_of = {p["SubnetId"]: p["RouteTableId"] for kind, p in made if kind == "AWS::EC2::SubnetRouteTableAssociation"}
    routes = {p["RouteTableId"]: p for kind, p in made if kind == "AWS::EC2::Route"}
    ways = [routes[table_of[subnet]] for subnet in stack.outputs["Subnets"].split(",")]
    assert {way["DestinationCidrBlock"] for way in ways} == {"0.0.0.0/0"}
    assert len({way.get("NatGatewayId") or way["GatewayId"] for way in ways}) == max(1, EGRESS[egress])
    assert {"NatGatewayId" in way for way in ways} == {egress != "public"}


def test_a_region_with_two_zones_gets_two_subnets() -> None:
    parameters = {"Name": "ci", "Cidr": "10.61.0.0/16", "Egress": "nat-per-zone"}
    stack = Resolved(NETWORK, parameters, region="us-west-1")
    assert len(stack.outputs["Subnets"].split(",")) == 2
    assert [name for name, made in stack.resources.items() if made["Type"] == "AWS::EC2::NatGateway"] == [
        "FirstNat",
        "SecondNat",
    ]


@pytest.mark.parametrize("zones", ["b", "ac", "abc", "abcdef"])
@pytest.mark.parametrize("egress", EGRESS)
def test_subnets_lie_in_zones_that_the_account_has(egress: str, zones: str) -> None:
    """Fn::GetAZs lists one zone alone where one alone has a default subnet."""
    parameters = {"Name": "ci", "Cidr": "10.61.0.0/16", "Egress": egress}
    stack = Resolved(NETWORK, parameters, zones=zones)
    subnets = stack.outputs["Subnets"].split(",")
    used = [stack.resources[subnet.removesuffix("Id")]["Properties"]["AvailabilityZone"][-1] for subnet in subnets]
    assert used == (list(zones) * 3)[:3]


def test_subnets_lie_in_the_zones_that_the_operator_names() -> None:
    parameters = {"Name": "ci", "Cidr": "10.61.0.0/16", "Egress": "nat", "Zones": "eu-central-1c,eu-central-1a"}
    stack = Resolved(NETWORK, parameters)
    subnets = [made["Properties"] for made in stack.resources.values() if made["Type"] == "AWS::EC2::Subnet"]
    assert [subnet["AvailabilityZone"][-1] for subnet in subnets] == ["c", "a", "c"] * 2


def test_interface_endpoints_answer_the_vms_by_their_usual_names() -> None:
    parameters = {"Name": "ci", "Cidr": "10.61.0.0/16", "Egress": "nat", "InterfaceEndpoints": "true"}
    stack = Resolved(NETWORK, parameters)
    made = [one["Properties"] for one in stack.resources.values() if one["Type"] == "AWS::EC2::VPCEndpoint"]
    interfaces = [one for one in made if one["VpcEndpointType"] == "Interface"]
    services = {one["ServiceName"].removeprefix("com.amazonaws.eu-central-1.") for one in interfaces}
    assert services == {"ecr.api", "ecr.dkr", "logs", "secretsmanager", "ssm", "ssmmessages", "sts"}
    vms = stack.outputs["Subnets"].split(",")
    for one in interfaces:
        assert one["PrivateDnsEnabled"] is True
        assert len(one["SubnetIds"]) == 1
        assert one["SubnetIds"][0] in vms
    (group,) = [one["Properties"] for one in stack.resources.values() if one["Type"] == "AWS::EC2::SecurityGroup"]
    assert [(rule["CidrIp"], rule["FromPort"]) for rule in group["SecurityGroupIngress"]] == [("10.61.0.0/16", 443)]
    without = Resolved(NETWORK, {**parameters, "InterfaceEndpoints": "false"}).resources.values()
    assert {one["Properties"]["VpcEndpointType"] for one in without if one["Type"] == "AWS::EC2::VPCEndpoint"} == {
        "Gateway"
    }


MADE_UP = {"LEDGER_TABLE", "MAILBOX_TABLE", "LAUNCH_TEMPLATE_ID", "LAUNCH_TEMPLATE_VERSION", "TRACKER_WAKES_URL"}
"""Variables that hold an id or the number of a version, which moto and our own resolving each make up."""


def test_a_stack_is_made_of_everything_that_its_conditions_ask_for(aws: AwsServer) -> None:
    """As our own resolving says. What moto does not play is asserted in test_template and test_safety."""
    network = make_network(aws, "public")
    parameters = {"AgentTokenParameter": "/buildkite/agent-token", "StackKey": "ci", **network, "VmLogs": "cloudwatch"}
    deployed = deploy(endpoint=aws.url, region=REGION, name="ci", parameters=parameters)
    resolved = Resolved(template(), parameters)
    wanted = {name for name, resource in resolved.resources.items() if resource["Type"] not in NOT_PLAYED}
    assert set(stack_resources(aws, "ci")) - {""} == wanted
    for function, logical in (("dispatcher", "DispatcherFunction"), ("tracker", "TrackerFunction")):
        ours = resolved.resources[logical]["Properties"]["Environment"]["Variables"]
        theirs = {name: value for name, value in deployed.environments[function].items() if name != "AWS_REGION"}
        assert {name for name in ours if str(ours[name]) != theirs.get(name)} == MADE_UP
        assert set(theirs) == set(ours)
    (group,) = client("ec2", aws).describe_security_groups(
        Filters=[{"Name": "tag:agent-stack:deployment", "Values": ["ci"]}]
    )["SecurityGroups"]
    assert (group["VpcId"], group["IpPermissions"]) == (network["VpcId"], [])
