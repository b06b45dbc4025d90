"""A region of the fake EC2 with a real boto3 client of it, without sockets, on a clock that stands still."""

from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.simulator.clock import VirtualClock
from tests.simulator.cloud import Ec2, Instance, LaunchTemplateData, Settings, Subnet, attach

SUBNETS = {"subnet-a": Subnet(zone="zone-a"), "subnet-b": Subnet(zone="zone-b"), "subnet-a2": Subnet(zone="zone-a")}
SECOND = timedelta(seconds=1)


class Computer:
    """What runs in an instance."""

    def __init__(self) -> None:
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True

    def console(self) -> str:
        return "héllo from the console"


class Computers:
    """Boots instances, or fails to."""

    def __init__(self, *, broken: bool = False) -> None:
        self.booted: dict[str, Computer] = {}
        self._broken = broken

    def boot(self, instance: Instance) -> Computer:
        if self._broken:
            raise OSError("no such image")
        self.booted[instance.instance_id] = Computer()
        return self.booted[instance.instance_id]


class Region:
    """A region and a client of it."""

    def __init__(self, computers: Computers | None = None, *, metadata_tags: bool = False, **settings: object) -> None:
        self.clock = VirtualClock()
        self.computers = computers or Computers()
        values: dict[str, Any] = {"subnets": SUBNETS, **settings}
        self.ec2 = Ec2(
            now=self.clock.now,
            settings=Settings(**values),
            launch_templates=lambda template_id, version: {
                ("lt-1", "1"): LaunchTemplateData(user_data=b"boot", metadata_tags=metadata_tags)
            }[template_id, version],
            machines=self.computers,
        )
        self.client: Any = boto3.client(  # requests are written as dictionaries here, which its stubs do not take
            "ec2",
            region_name="eu-central-1",
            aws_access_key_id="AKID",
            aws_secret_access_key="secret",
            config=Config(retries={"total_max_attempts": 1}),
        )
        attach(self.client, self.ec2)

    def fleet(
        self,
        count: int = 1,
        *,
        types: tuple[str, ...] = ("m7i.large",),
        subnets: tuple[str, ...] = ("subnet-a",),
        capacity_type: str = "on-demand",
        override: dict[str, Any] | None = None,
        **changes: Any,  # noqa: ANN401  (the request's own)
    ) -> dict[str, Any]:
        """CreateFleet. `override` is added to each of them."""
        request: dict[str, Any] = {
            "Type": "instant",
            "TargetCapacitySpecification": {"TotalTargetCapacity": count, "DefaultTargetCapacityType": capacity_type},
            "OnDemandOptions": {"AllocationStrategy": "prioritized"},
            "LaunchTemplateConfigs": [
                {
                    "LaunchTemplateSpecification": {"LaunchTemplateId": "lt-1", "Version": "1"},
                    "Overrides": [
                        {
                            "InstanceType": kind,
                            "SubnetId": subnet,
                            "ImageId": "ami-1",
                            "Priority": float(rank),
                            **(override or {}),
                        }
                        for rank, kind in enumerate(types)
                        for subnet in subnets
                    ],
                }
            ],
            **changes,
        }
        return dict(self.client.create_fleet(**request))

    def launch(self, count: int = 1, **changes: Any) -> list[str]:  # noqa: ANN401  (the request's own)
        answer = self.fleet(count, **changes)
        return [instance_id for group in answer["Instances"] for instance_id in group["InstanceIds"]]

    def states(self) -> list[str]:
        pages = self.client.describe_instances()["Reservations"]
        return [instance["State"]["Name"] for page in pages for instance in page["Instances"]]


def codes(answer: dict[str, Any]) -> list[str]:
    """Of the errors inside an answer."""
    return [error["ErrorCode"] for error in answer["Errors"]]


def refusal(raised: pytest.ExceptionInfo[ClientError]) -> str:
    return str(raised.value.response["Error"]["Code"])
