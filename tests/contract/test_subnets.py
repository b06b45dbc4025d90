"""The operator's subnets, through real botocore: those that exist, with room, one for each zone."""

from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.ec2 import errors
from agent_stack.adapters.ec2.subnets import MAX_AGE, RECHECK, UNANSWERED, Subnets
from agent_stack.domain.errors import ConfigurationError, NotPermittedError, RetryError
from tests.simulator.clock import FixedDeadline, VirtualClock
from tests.simulator.cloud import Ec2, Refusal, Settings, Subnet, attach
from tests.simulator.identity import SeededIds
from tests.simulator.telemetry import RecordedTelemetry

A, B = "eu-central-1a", "eu-central-1b"
SECOND = timedelta(seconds=1)


class Asking:
    """The adapter and the EC2 it asks."""

    def __init__(self, named: tuple[str, ...] = (), **subnets: Subnet) -> None:
        there = {name.replace("_", "-"): subnet for name, subnet in subnets.items()}
        self.clock, self.telemetry = VirtualClock(), RecordedTelemetry()
        self.ec2 = Ec2(now=self.clock.now, settings=Settings(subnets=there))
        client = boto3.client(
            "ec2",
            region_name="eu-central-1",
            aws_access_key_id="AKID",
            aws_secret_access_key="secret",
            config=Config(retries={"total_max_attempts": 1}),
        )
        attach(client, self.ec2)
        self.subnets = Subnets(
            client=lambda: client,
            calls=AwsCalls(
                clock=self.clock,
                ids=SeededIds(),
                deadline=FixedDeadline(),
                throttles=errors.NOTHING_DONE,
                server_errors=errors.SERVER,
            ),
            clock=self.clock,
            telemetry=self.telemetry,
            subnet_ids=named or tuple(there),
        )

    def asked(self) -> int:
        return len(self.ec2.calls())

    def said(self) -> list[tuple[str, Any]]:
        return [(message, fields.get("subnet")) for _, message, fields in self.telemetry.records]


def two_zones() -> Asking:
    return Asking(
        subnet_a=Subnet(zone=A, free_addresses=10),
        subnet_b=Subnet(zone=B, free_addresses=10),
        subnet_c=Subnet(zone=A, free_addresses=30),
    )


def test_each_zone_has_the_subnet_with_most_free_addresses() -> None:
    assert two_zones().subnets.by_zone() == {A: "subnet-c", B: "subnet-b"}


def test_what_is_launched_counts_at_once_so_that_all_subnets_of_a_zone_are_used() -> None:
    asking = two_zones()
    used = []
    for _ in range(3):
        subnet = asking.subnets.by_zone()[A]
        used.append(subnet)
        asking.subnets.launched(subnet, 15)
    assert used == ["subnet-c", "subnet-c", "subnet-a"]
    assert asking.asked() == 1


def test_one_subnet_that_is_gone_is_said_once_and_the_others_serve() -> None:
    asking = two_zones()
    asking.ec2.network.delete("subnet-b")
    for _ in range(20):
        assert asking.subnets.by_zone() == {A: "subnet-c"}
        asking.clock.sleep(20 * SECOND)
    assert asking.subnets.missing() == ["subnet-b"]
    assert asking.said() == [("subnet_gone", "subnet-b")]
    assert 10 <= asking.asked() <= 15  # it is looked at again each half minute


def test_a_subnet_without_addresses_is_skipped_and_used_again_when_it_has_some() -> None:
    asking = two_zones()
    asking.ec2.network.free["subnet-b"] = 0
    assert asking.subnets.by_zone() == {A: "subnet-c"}
    asking.ec2.network.free["subnet-b"] = 3
    asking.clock.sleep(RECHECK)
    assert asking.subnets.by_zone() == {A: "subnet-c", B: "subnet-b"}
    assert asking.said() == [("subnet_full", "subnet-b"), ("subnet_usable", "subnet-b")]


def test_where_no_subnet_has_an_address_ec2_is_left_to_say_so() -> None:
    asking = Asking(subnet_a=Subnet(zone=A, free_addresses=0), subnet_b=Subnet(zone=B, free_addresses=0))
    assert asking.subnets.by_zone() == {A: "subnet-a", B: "subnet-b"}


@pytest.mark.parametrize("gone", [True, False])
def test_a_refusal_is_believed_before_the_next_look(gone: bool) -> None:  # noqa: FBT001  (which refusal)
    asking = two_zones()
    asking.subnets.by_zone()
    assert asking.subnets.refused("subnet-c", gone=gone) is True  # another of its zone has room
    assert asking.subnets.by_zone() == {A: "subnet-a", B: "subnet-b"}
    assert asking.subnets.refused("subnet-b", gone=gone) is False
    assert asking.subnets.by_zone() == {A: "subnet-a"}
    assert asking.asked() == 1
    asking.clock.sleep(RECHECK)
    assert asking.subnets.by_zone() == {A: "subnet-c", B: "subnet-b"}


def test_subnets_are_looked_at_again_every_five_minutes() -> None:
    asking = two_zones()
    asking.subnets.by_zone()
    asking.clock.sleep(MAX_AGE - SECOND)
    asking.subnets.by_zone()
    assert asking.asked() == 1
    asking.clock.sleep(SECOND)
    asking.subnets.by_zone()
    assert asking.asked() == 2


def test_before_a_launch_they_are_fresh_where_somebody_uses_them() -> None:
    asking = two_zones()
    asking.subnets.look_beside()
    assert asking.asked() == 0  # the tracker lists VMs, too, and launches none
    asking.subnets.by_zone()
    asking.ec2.network.delete("subnet-b")
    for seconds, looks in ((5, 1), (6, 2), (1, 2)):
        asking.clock.sleep(seconds * SECOND)
        asking.subnets.look_beside()
        assert asking.asked() == looks
    assert asking.subnets.by_zone() == {A: "subnet-c"}


def test_while_ec2_does_not_answer_the_last_answer_serves_and_few_ask() -> None:
    asking = two_zones()
    asking.ec2.faults.refuse(Refusal(code="ServiceUnavailable", action="DescribeSubnets", lasts=600 * SECOND))
    for _ in range(10):
        with pytest.raises(RetryError, match="ServiceUnavailable"):
            asking.subnets.by_zone()
    assert asking.asked() == 4  # the tries of one question
    asking.ec2.faults.clear()
    asking.clock.sleep(UNANSWERED)
    expected = asking.subnets.by_zone()
    asking.ec2.faults.refuse(Refusal(code="ServiceUnavailable", action="DescribeSubnets", lasts=600 * SECOND))
    asking.clock.sleep(MAX_AGE)
    assert asking.subnets.by_zone() == expected


def test_no_subnet_at_all_and_no_permission_are_named() -> None:
    with pytest.raises(ConfigurationError, match="Subnets='subnet-x': EC2 finds none of them"):
        Asking(named=("subnet-x",), subnet_a=Subnet(zone=A)).subnets.by_zone()
    asking = two_zones()
    asking.ec2.faults.refuse(Refusal(code="UnauthorizedOperation", action="DescribeSubnets"))
    with pytest.raises(NotPermittedError, match="UnauthorizedOperation"):
        asking.subnets.by_zone()


def test_a_request_that_is_being_written_finds_a_subnet_whatever_has_happened_to_it() -> None:
    asking = two_zones()
    asking.subnets.by_zone()
    asking.subnets.refused("subnet-b", gone=True)
    assert asking.subnets.of_zone(B) == "subnet-b"


def test_hundreds_of_subnets_are_asked_for_in_several_questions() -> None:
    many = {f"subnet_{n}": Subnet(zone=f"zone-{n % 3}", free_addresses=n + 1) for n in range(450)}
    asking = Asking((), **many)
    assert asking.subnets.by_zone() == {"zone-0": "subnet-447", "zone-1": "subnet-448", "zone-2": "subnet-449"}
    assert asking.asked() == 3
