"""What a class leaves open is asked of EC2, through real botocore: once an hour, every page, with a clear refusal."""

from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.ec2 import errors
from agent_stack.adapters.ec2.catalog import Ec2InstanceCatalog
from agent_stack.adapters.ssm.class_document import Requirements, read_classes
from agent_stack.domain.errors import ConfigurationError
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.states import CapacityType
from tests.simulator.clock import FixedDeadline, VirtualClock
from tests.simulator.cloud import Ec2, LaunchTemplateData, Settings, Subnet, attach
from tests.simulator.cloud.catalogue import catalogue
from tests.simulator.identity import SeededIds

IMAGE = "ami-0123456789abcdef0"
SMALL_ARM = [
    name
    for name, kind in catalogue().items()
    if (kind.vcpus, kind.memory_mib) == (2, 4096)
    and "arm64" in kind.architectures
    and kind.described["CurrentGeneration"]
    and not kind.described["BurstablePerformanceSupported"]
]
"""Current types for arm64 with 2 vCPUs and 4 GiB."""


class Asking:
    """The adapter and the EC2 it asks."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401  (EC2's own)
        self.clock = VirtualClock()
        self.ec2 = Ec2(
            now=self.clock.now,
            settings=Settings(subnets={"subnet-a": Subnet(zone="a")}, **settings),
            launch_templates=lambda _id, _version: LaunchTemplateData(),
        )
        client = boto3.client(
            "ec2",
            region_name="eu-central-1",
            aws_access_key_id="AKID",
            aws_secret_access_key="secret",
            config=Config(retries={"total_max_attempts": 1}),
        )
        attach(client, self.ec2)
        self.shapes = Ec2InstanceCatalog(
            client=lambda: client,
            calls=AwsCalls(
                clock=self.clock,
                ids=SeededIds(),
                deadline=FixedDeadline(),
                throttles=errors.NOTHING_DONE,
                server_errors=errors.SERVER,
            ),
            parameter=lambda name: {"/image": IMAGE}[name],
            clock=self.clock,
        )

    def calls(self, action: str) -> int:
        return sum(call.action == action for call in self.ec2.calls())


def wanted(**changes: Any) -> Requirements:  # noqa: ANN401  (the model's own)
    return Requirements(**{"architecture": "x86_64", "vcpus_min": 2, "memory_gib_min": 8, **changes})


def test_attributes_become_types_page_by_page() -> None:
    asking = Asking()
    types = asking.shapes.types(wanted(), CapacityType.SPOT)
    assert asking.calls("GetInstanceTypesFromInstanceRequirements") > 5  # pages
    kinds = [catalogue()[name] for name in types]
    assert all(kind.vcpus >= 2 and kind.memory_mib >= 8192 and "x86_64" in kind.architectures for kind in kinds)
    narrow = wanted(architecture="arm64", vcpus_max=2, memory_gib_min=4, memory_gib_max=4)
    assert {"c7g.large", "c8g.large"} <= set(asking.shapes.types(narrow, CapacityType.SPOT)) <= set(SMALL_ARM)


def test_attributes_that_no_type_has_are_named() -> None:
    with pytest.raises(ConfigurationError, match="no instance type has these attributes"):
        Asking().shapes.types(wanted(vcpus_min=3, vcpus_max=3), CapacityType.SPOT)


@pytest.mark.parametrize("image", [IMAGE, "resolve:ssm:/image"])
def test_a_root_device_is_looked_up_once_an_hour(image: str) -> None:
    asking = Asking()
    assert asking.shapes.root_device(image) == asking.shapes.root_device(image) == "/dev/xvda"
    assert asking.calls("DescribeImages") == 1
    asking.clock.sleep(timedelta(hours=1))
    asking.shapes.root_device(image)
    assert asking.calls("DescribeImages") == 2


def test_an_image_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"InvalidAMIID\.NotFound"):
        Asking(unknown_images=frozenset({IMAGE})).shapes.root_device(IMAGE)


def test_a_document_leaves_to_ec2_what_it_does_not_say() -> None:
    document = """
    {"classes": {"big": {
      "instance_requirements": {"architecture": "arm64", "vcpus_min": 2, "vcpus_max": 2, "memory_gib_min": 4,
                                "memory_gib_max": 4},
      "image": "ami-0123456789abcdef0", "volume_gib": 50}}, "default_class": "big"}
    """
    book = read_classes(document, name="/classes", deployment_tags=(), shapes=Asking().shapes)
    big = book.classes[ClassName("big")]
    assert set(big.instance_types) == set(SMALL_ARM)
    assert (big.root_device, big.ordered) == ("/dev/xvda", False)
