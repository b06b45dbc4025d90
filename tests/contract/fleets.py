"""A fleet of one deployment and the fake EC2 behind it, for the suites that need both."""

from dataclasses import dataclass

import boto3
from botocore.config import Config

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.ec2 import Ec2Fleet, errors
from agent_stack.adapters.ec2.instances import read_lean
from agent_stack.adapters.ec2.oddities import Oddities
from agent_stack.adapters.ec2.requests import LaunchTemplate
from agent_stack.adapters.ec2.subnets import Subnets
from agent_stack.domain.classes import VmClass
from agent_stack.domain.identifiers import ClassName, InstanceId
from agent_stack.domain.launching import LaunchOrder
from agent_stack.domain.policy import LaunchPolicy
from tests.simulator.clock import FixedDeadline, VirtualClock
from tests.simulator.cloud import Ec2, Instance, LaunchTemplateData, Settings, Subnet, attach
from tests.simulator.identity import SeededIds
from tests.simulator.telemetry import RecordedTelemetry

NOTHING_SET = LaunchPolicy()
SUBNETS = {"subnet-a": Subnet(zone="eu-central-1a"), "subnet-b": Subnet(zone="eu-central-1b")}


class Computer:
    """What an instance runs."""

    def stop(self) -> None:
        """The power is cut."""

    def console(self) -> str:
        return "héllo\r\nfrom the console"


class Computers:
    """Boots instances."""

    def boot(self, instance: Instance) -> Computer:
        return Computer()


@dataclass
class World:
    """A fleet of one deployment and the EC2 behind it."""

    fleet: Ec2Fleet
    ec2: Ec2
    clock: VirtualClock
    ids: SeededIds
    telemetry: RecordedTelemetry

    def order(self, count: int, **vm_class: object) -> LaunchOrder:
        shape = {"instance_types": ("m7i.large",), "image": "ami-0123456789abcdef0", **vm_class}
        wanted = VmClass(name=ClassName("default"), **shape)  # type: ignore[arg-type]  # a class's own fields
        pools = tuple(self.fleet.pools(wanted, wanted.capacity_type))
        return LaunchOrder(
            intent_id=self.ids.intent_id(),
            vm_class=wanted,
            count=count,
            capacity_type=wanted.capacity_type,
            pools=pools,
        )

    def launch(self, count: int, **vm_class: object) -> list[InstanceId]:
        outcome = self.fleet.launch(self.fleet.render(self.order(count, **vm_class)))
        return [vm.instance_id for vm in outcome.vms]


def templates(template_id: str, version: str) -> LaunchTemplateData:
    return {("lt-0123456789abcdef0", "1"): LaunchTemplateData(user_data=b"#!/bin/sh")}[template_id, version]


def settings(**changes: object) -> Settings:
    return Settings(**{"subnets": SUBNETS, **changes})  # type: ignore[arg-type]  # Settings' own fields


def made(
    ec2: Ec2,
    clock: VirtualClock,
    url: str | None,
    *,
    subnets: tuple[str, ...] = tuple(SUBNETS),
    policy: LaunchPolicy = NOTHING_SET,
) -> World:
    """A fleet that reaches that EC2 there, or without sockets."""
    ids = SeededIds()
    client = boto3.client(
        "ec2",
        region_name="eu-central-1",
        aws_access_key_id="AKID",
        aws_secret_access_key="secret",
        endpoint_url=url,
        config=Config(retries={"total_max_attempts": 1}),
    )
    if url is None:
        attach(client, ec2)
    else:
        client = read_lean(client)
    calls = AwsCalls(
        clock=clock, ids=ids, deadline=FixedDeadline(), throttles=errors.NOTHING_DONE, server_errors=errors.SERVER
    )
    telemetry = RecordedTelemetry()
    fleet = Ec2Fleet(
        client=lambda: client,
        calls=calls,
        clock=clock,
        deployment="stack",
        arn_prefix="arn:aws:ec2:eu-central-1:123456789012:instance/",
        template=LaunchTemplate(template_id="lt-0123456789abcdef0", version="1"),
        subnets=Subnets(client=lambda: client, calls=calls, clock=clock, telemetry=telemetry, subnet_ids=subnets),
        policy=policy,
        oddities=Oddities(telemetry=telemetry),
    )
    return World(fleet=fleet, ec2=ec2, clock=clock, ids=ids, telemetry=telemetry)
