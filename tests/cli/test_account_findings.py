"""What `doctor` says of alarms and routes, with an account that moto plays."""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from cfnlint.decode.cfn_yaml import loads
from moto import mock_aws

from agent_stack.domain.findings import Finding
from agent_stack_cli.account_findings import alarms, routes
from agent_stack_cli.session import Session
from agent_stack_cli.stacks import Stack
from tests.cli.faults import OBSERVABILITY

REGION = "eu-central-1"


def client(service: str) -> Any:  # noqa: ANN401  (a client of any service)
    return boto3.client(service, region_name=REGION)  # type: ignore[call-overload]  # any service's name


def stack(name: str = "ci", *, subnets: tuple[str, ...] = (), **parameters: str) -> Stack:
    made = Stack(
        session=Session(region=REGION), name=name, arn="", status="CREATE_COMPLETE", parameters=parameters, outputs={}
    )
    vars(made)["settings"] = SimpleNamespace(subnet_ids=subnets)
    return made


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        yield


def template_alarms() -> Iterator[Mapping[str, Any]]:
    for resource in loads(OBSERVABILITY.read_text())["Resources"].values():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            yield resource["Properties"]


def ringing(name: str) -> set[str]:
    """All alarms of the template as the stack of that name has them, and all of them ring; their names."""

    def placed(value: Any) -> str:  # noqa: ANN401  (a text, a reference, or a text with references)
        text = value if isinstance(value, str) else value.get("Fn::Sub", "${" + value.get("Ref", "") + "}")
        return str(text).replace("${Deployment}", name)

    cloudwatch, rings = client("cloudwatch"), set[str]()
    for alarm in template_alarms():
        full = placed(alarm["AlarmName"])
        cloudwatch.put_metric_alarm(
            AlarmName=full,
            AlarmDescription=placed(alarm["AlarmDescription"]),
            Namespace="AgentStackEc2",
            MetricName="One",
            Dimensions=[{"Name": d["Name"], "Value": placed(d["Value"])} for d in alarm.get("Dimensions", [])],
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            Statistic="Sum",
            ComparisonOperator="GreaterThanThreshold",
        )
        cloudwatch.set_alarm_state(AlarmName=full, StateValue="ALARM", StateReason="planted")
        rings.add(full.removeprefix(f"{name}-"))
    return rings


def test_all_alarms_of_this_stack_are_shown_and_none_of_a_neighbour() -> None:
    """Not every alarm has the stack's name in a dimension, and one stack's name may begin like another's."""
    mine, neighbours = ringing("ci"), ringing("ci-prod")
    assert {"function-errors", "invocations-lost", "daily-spend", "events-failed"} <= neighbours
    assert {finding.check for finding in alarms(stack())} == {f"alarm {name}" for name in mine}
    assert {finding.check for finding in alarms(stack("ci-prod"))} == {f"alarm {name}" for name in mine}


def test_an_alarm_of_the_operator_is_none_of_this_stack() -> None:
    cloudwatch = client("cloudwatch")
    given = {"Namespace": "N", "MetricName": "M", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1}
    cloudwatch.put_metric_alarm(
        AlarmName="ci-mine", AlarmDescription="ours", Threshold=1, ComparisonOperator="GreaterThanThreshold", **given
    )
    cloudwatch.set_alarm_state(AlarmName="ci-mine", StateValue="ALARM", StateReason="planted")
    assert list(alarms(stack())) == []


def test_since_when_an_alarm_rings_is_said_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "IST-5:30")
    time.tzset()
    before = datetime.now(UTC)
    try:
        ringing("ci")
        said = {finding.problem for finding in alarms(stack())}
    finally:
        monkeypatch.undo()
        time.tzset()
    assert said <= {f"ALARM since {moment:%Y-%m-%d %H:%M} UTC" for moment in (before, datetime.now(UTC))}
    assert said


@pytest.fixture
def vpc() -> str:
    return str(client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"])


def subnet(vpc: str, number: int, *destinations: str) -> str:
    """A subnet with a route table of its own, and a gateway for each destination."""
    ec2 = client("ec2")
    made = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24")["Subnet"]["SubnetId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=made)
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    for destination in destinations:
        kind = "DestinationIpv6CidrBlock" if ":" in destination else "DestinationCidrBlock"
        ec2.create_route(RouteTableId=table, GatewayId=gateway, **{kind: destination})
    return str(made)


def found(*subnets: str, **parameters: str) -> list[Finding]:
    return list(routes(stack(subnets=subnets, **parameters)))


def test_subnets_without_a_way_out_are_a_warning_because_endpoints_or_a_proxy_may_serve(vpc: str) -> None:
    isolated, public = subnet(vpc, 1), subnet(vpc, 2, "0.0.0.0/0")
    for subnets in ((isolated,), (isolated, public)):
        (finding,) = found(*subnets)
        assert (finding.severity, finding.problem) == ("warning", f"No route leads out of {isolated}")
    assert found(public) == []
    assert found(isolated, HttpProxy="http://proxy:3128") == []


def test_a_route_for_ipv6_leads_out_of_subnets_without_ipv4_only(vpc: str, monkeypatch: pytest.MonkeyPatch) -> None:
    both = subnet(vpc, 1, "::/0")
    (finding,) = found(both)
    assert both in finding.problem
    session = Session(region=REGION)
    real = session.ec2.describe_subnets
    monkeypatch.setattr(
        session.ec2,
        "describe_subnets",
        lambda **asked: {"Subnets": [{**one, "Ipv6Native": True} for one in real(**asked)["Subnets"]]},
    )
    given = stack(subnets=(both,))
    vars(given)["session"] = session
    assert list(routes(given)) == []
