"""What a class leaves open is asked of EC2, through real botocore: once an hour, every page, with a clear refusal."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.ec2 import errors
from agent_stack.adapters.ec2.catalog import MAX_TYPES, Ec2InstanceCatalog
from agent_stack.adapters.ec2.instance_types import Ec2InstanceTypes
from agent_stack.adapters.ssm.class_document import read_classes
from agent_stack.domain.classes import InstanceRequirements
from agent_stack.domain.errors import ConfigurationError, NotPermittedError, TransientError, WaitError
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.states import CapacityType
from tests.bench.types import SHAPES
from tests.simulator.clock import FixedDeadline, VirtualClock
from tests.simulator.cloud import Ec2, LaunchTemplateData, Refusal, Settings, Subnet, attach
from tests.simulator.cloud.catalogue import InstanceType, catalogue
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
        calls = AwsCalls(
            clock=self.clock,
            ids=SeededIds(),
            deadline=FixedDeadline(),
            throttles=errors.NOTHING_DONE,
            server_errors=errors.SERVER,
        )
        self.types = Ec2InstanceTypes(client=lambda: client, calls=calls)
        self.shapes = Ec2InstanceCatalog(
            client=lambda: client,
            calls=calls,
            instance_types=self.types,
            parameter=lambda name: {"/image": IMAGE}[name],
            clock=self.clock,
        )

    def calls(self, action: str) -> int:
        return sum(call.action == action for call in self.ec2.calls())


def wanted(**changes: Any) -> InstanceRequirements:  # noqa: ANN401  (the model's own)
    return InstanceRequirements(**{"architecture": "x86_64", "vcpus_min": 2, "memory_gib_min": 8, **changes})


def test_attributes_become_types_page_by_page() -> None:
    asking = Asking()
    types = asking.shapes.types(wanted(), CapacityType.SPOT)
    assert asking.calls("GetInstanceTypesFromInstanceRequirements") > 5  # pages
    kinds = [catalogue()[name] for name in types]
    assert all(kind.vcpus >= 2 and kind.memory_mib >= 8192 and "x86_64" in kind.architectures for kind in kinds)
    narrow = wanted(architecture="arm64", vcpus_max=2, memory_gib_min=4, memory_gib_max=4)
    assert {"c7g.large", "c8g.large"} <= set(asking.shapes.types(narrow, CapacityType.SPOT)) <= set(SMALL_ARM)


def test_attributes_that_no_type_has_are_named() -> None:
    with pytest.raises(ConfigurationError, match="no spot instance type has these attributes"):
        Asking().shapes.types(wanted(vcpus_min=3, vcpus_max=3), CapacityType.SPOT)


@pytest.mark.parametrize(("vcpus", "memory"), SHAPES)
def test_the_first_types_are_within_a_tenth_of_what_was_asked(vcpus: int, memory: int) -> None:
    shapes = Asking().shapes
    for market in CapacityType:
        found = shapes.types(wanted(vcpus_min=vcpus, memory_gib_min=memory), market)
        kinds = [catalogue()[name] for name in found]
        assert len(found) == MAX_TYPES
        assert len({kind.family for kind in kinds}) >= 10
        for kind in kinds[:10]:
            assert vcpus <= kind.vcpus <= 1.1 * vcpus
            assert memory * 1024 <= kind.memory_mib <= 1.1 * memory * 1024
        for kind in kinds:
            assert not kind.accelerators
            assert not kind.described["BareMetal"]
            assert kind.described["CurrentGeneration"]
            assert market in kind.usage_classes
        exact = [kind.generation for kind in kinds if (kind.vcpus, kind.memory_mib) == (vcpus, memory * 1024)]
        assert exact == sorted(exact, reverse=True)


@pytest.mark.share(6)
@given(
    vcpus=st.integers(1, 200),
    memory=st.integers(1, 2000),
    architecture=st.sampled_from(["x86_64", "arm64"]),
    wide=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_the_cut_keeps_every_family_that_fits_best_and_several_of_them(
    vcpus: int,
    memory: int,
    architecture: str,
    wide: bool,  # noqa: FBT001  (which question)
) -> None:
    asked = wanted(
        architecture=architecture,
        vcpus_min=vcpus,
        memory_gib_min=memory,
        **({} if wide else {"vcpus_max": 2 * vcpus, "memory_gib_max": 2 * memory}),
    )
    fitting = [
        kind
        for kind in catalogue().values()
        if architecture in kind.architectures
        and vcpus <= kind.vcpus <= (10_000 if wide else 2 * vcpus)
        and memory * 1024 <= kind.memory_mib <= (10**9 if wide else 2 * memory * 1024)
        and kind.described["CurrentGeneration"]
        and "on-demand" in kind.usage_classes
        and "hvm" in kind.described["SupportedVirtualizationTypes"]
        and not kind.accelerators
        and not kind.described["BareMetal"]
        and not kind.described["BurstablePerformanceSupported"]
    ]
    try:
        found = Asking().shapes.types(asked, CapacityType.ON_DEMAND)
    except ConfigurationError:
        assert not fitting
        return
    assert set(found) <= {kind.name for kind in fitting}
    assert len(found) == min(MAX_TYPES, len(fitting))
    distances = [(catalogue()[name].vcpus, catalogue()[name].memory_mib) for name in found]
    assert distances == sorted(distances)
    families = len({kind.family for kind in fitting})
    assert len({name.partition(".")[0] for name in found}) >= min(families, 10)


@pytest.mark.parametrize(
    ("asked", "has"),
    [
        ({"accelerators": "required", "vcpus_min": 4}, lambda kind: bool(kind.accelerators)),
        ({"bare_metal": "required", "vcpus_min": 32}, lambda kind: kind.described["BareMetal"]),
    ],
)
def test_what_is_special_comes_when_it_is_asked_for(asked: dict[str, Any], has: Callable[[InstanceType], bool]) -> None:
    found = Asking().shapes.types(wanted(**asked), CapacityType.ON_DEMAND)
    assert found
    assert all(has(catalogue()[name]) for name in found)


def test_previous_generations_come_when_they_are_asked_for() -> None:
    old = wanted(vcpus_min=2, vcpus_max=2, memory_gib_min=3, memory_gib_max=8)
    assert all(catalogue()[n].described["CurrentGeneration"] for n in Asking().shapes.types(old, CapacityType.SPOT))
    also = replace(old, previous_generations=True)
    found = Asking().shapes.types(also, CapacityType.ON_DEMAND)
    assert not all(catalogue()[name].described["CurrentGeneration"] for name in found)


def test_the_vcpus_of_types_come_in_pages_and_an_unknown_one_is_left_out() -> None:
    asking = Asking()
    names = [*list(catalogue())[:250], "m99.large"]
    assert asking.types.vcpus(names) == {name: catalogue()[name].vcpus for name in names[:-1]}
    assert asking.calls("DescribeInstanceTypes") == 3
    asking.ec2.faults.refuse(Refusal(code="ServiceUnavailable", action="DescribeInstanceTypes", times=4))
    with pytest.raises(TransientError):
        asking.types.vcpus(["m7i.large"])
    asking.ec2.faults.refuse(Refusal(code="UnauthorizedOperation", action="DescribeInstanceTypes"))
    with pytest.raises(WaitError):
        asking.types.vcpus(["m7i.large"])


def test_an_old_answer_serves_while_ec2_gives_no_new_one() -> None:
    asking = Asking()
    types = asking.shapes.types(wanted(), CapacityType.SPOT)
    asking.clock.sleep(timedelta(hours=1))
    for action in ("GetInstanceTypesFromInstanceRequirements", "DescribeImages"):
        asking.ec2.faults.refuse(Refusal(code="InternalError", action=action))
    assert asking.shapes.types(wanted(), CapacityType.SPOT) == types
    with pytest.raises(TransientError):
        asking.shapes.root_device(IMAGE)


def test_a_permission_that_is_not_there_yet_is_told_from_a_wrong_image() -> None:
    asking = Asking()
    asking.ec2.faults.refuse(Refusal(code="UnauthorizedOperation", action="DescribeImages"))
    with pytest.raises(NotPermittedError, match="image: EC2 refuses: UnauthorizedOperation"):
        asking.shapes.root_device(IMAGE)


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
