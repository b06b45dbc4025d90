"""What the fake EC2 says of instance types: moto's catalogue, its pages and filters, requirements, prices."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.simulator.cloud import prices
from tests.simulator.cloud.catalogue import catalogue
from tests.simulator.cloud.errors import Ec2Error
from tests.unit.simulator.region import Region, refusal

SMALL: dict[str, Any] = {"VCpuCount": {"Min": 2, "Max": 2}, "MemoryMiB": {"Min": 8192, "Max": 8192}}
ANY: dict[str, Any] = {"VCpuCount": {"Min": 1}, "MemoryMiB": {"Min": 0}}


def types(wanted: dict[str, Any], *, architecture: str = "x86_64") -> list[str]:
    pages = (
        Region()
        .client.get_paginator("get_instance_types_from_instance_requirements")
        .paginate(ArchitectureTypes=[architecture], VirtualizationTypes=["hvm"], InstanceRequirements=wanted)
    )
    return [one["InstanceType"] for page in pages for one in page["InstanceTypes"]]


def described(**request: Any) -> list[dict[str, Any]]:  # noqa: ANN401  (the request's own)
    pages = Region().client.get_paginator("describe_instance_types").paginate(**request)
    return [one for page in pages for one in page["InstanceTypes"]]


def test_the_catalogue_is_read_at_the_first_question_and_not_before() -> None:
    program = "import sys, tests.simulator.cloud as c; from tests.simulator.cloud.catalogue import catalogue as k;"
    program += (
        "assert 'moto' not in sys.modules and k.cache_info().currsize == 0; k(); assert 'moto' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).resolve().parents[3], timeout=60)


def test_all_types_come_page_by_page() -> None:
    region = Region()
    first = region.client.describe_instance_types()
    assert len(first["InstanceTypes"]) == 100
    assert len(region.client.describe_instance_types(MaxResults=5)["InstanceTypes"]) == 5
    names = [one["InstanceType"] for one in described()]
    assert len(names) > 1_000
    assert len(set(names)) == len(names)


def test_a_type_is_described_with_its_vcpus_memory_architecture_and_usage_classes() -> None:
    (shown,) = described(InstanceTypes=["m7i.4xlarge"])
    assert (shown["VCpuInfo"]["DefaultVCpus"], shown["MemoryInfo"]["SizeInMiB"]) == (16, 65536)
    assert (shown["BareMetal"], shown["CurrentGeneration"]) == (False, True)
    assert shown["ProcessorInfo"]["SupportedArchitectures"] == ["x86_64"]
    assert set(shown["SupportedUsageClasses"]) == {"on-demand", "spot"}
    (gpus,) = described(InstanceTypes=["g5.xlarge"])
    assert gpus["GpuInfo"]["Gpus"][0]["Count"] == 1


def test_filters_choose_types() -> None:
    shown = described(
        Filters=[
            {"Name": "processor-info.supported-architecture", "Values": ["arm64"]},
            {"Name": "vcpu-info.default-vcpus", "Values": ["2"]},
            {"Name": "current-generation", "Values": ["true"]},
            {"Name": "instance-type", "Values": ["m7g.*", "c7g.*"]},
        ]
    )
    assert {one["InstanceType"] for one in shown} == {"m7g.large", "c7g.large"}


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"InstanceTypes": ["m7i.large", "m7i.tiny"]}, "InvalidInstanceType"),
        ({"InstanceTypes": [f"m7i.{n}" for n in range(101)]}, "InvalidParameterValue"),
        ({"InstanceTypes": ["m7i.large"], "MaxResults": 5}, "InvalidParameterCombination"),
        ({"Filters": [{"Name": "colour", "Values": ["red"]}]}, "InvalidParameterValue"),
    ],
)
def test_a_wrong_question_about_types_is_refused(request_: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as raised:
        Region().client.describe_instance_types(**request_)
    assert refusal(raised) == code


def test_a_type_that_a_zone_does_not_have_is_not_offered_there_and_cannot_be_launched() -> None:
    region = Region(not_offered=frozenset({"m7i.large:zone-a"}))
    wanted = [{"Name": "instance-type", "Values": ["m7i.large"]}]
    offered = region.client.describe_instance_type_offerings(LocationType="availability-zone", Filters=wanted)
    assert [one["Location"] for one in offered["InstanceTypeOfferings"]] == ["zone-b"]
    answer = region.fleet(1, subnets=("subnet-a", "subnet-b"))
    assert [error["ErrorCode"] for error in answer["Errors"]] == ["Unsupported"]
    assert "zone-a" in answer["Errors"][0]["ErrorMessage"]
    assert region.ec2.instances()[0].zone == "zone-b"


def test_a_type_that_there_is_not_fails_its_pool_only() -> None:
    answer = Region().fleet(1, types=("m99.large", "m7i.large"))
    assert [error["ErrorCode"] for error in answer["Errors"]] == ["InvalidParameterValue"]
    assert len(answer["Instances"]) == 1


def test_requirements_are_answered_alphabetically_over_pages_with_accelerators_and_previous_generations() -> None:
    region = Region()
    page = region.client.get_instance_types_from_instance_requirements(
        ArchitectureTypes=["x86_64"], VirtualizationTypes=["hvm"], InstanceRequirements=ANY
    )
    assert "NextToken" in page
    every = types(ANY)
    assert every == sorted(every)
    assert len(every) > 500
    assert {"m4.large", "g5.xlarge"} <= set(every)
    assert not {"m7i.metal-24xl", "t3.micro"} & set(every)  # only when they are asked for


@pytest.mark.parametrize(
    ("more", "there", "not_there"),
    [
        ({}, "m7i.large", "m7i.xlarge"),
        ({"InstanceGenerations": ["current"]}, "m7i.large", "m4.large"),
        ({"InstanceGenerations": ["previous"]}, "m4.large", "m7i.large"),
        ({"CpuManufacturers": ["amd"]}, "m7a.large", "m7i.large"),
        ({"BurstablePerformance": "required"}, "t3.large", "m7i.large"),
        ({"BurstablePerformance": "included"}, "t3.large", "m7i.xlarge"),
        ({"LocalStorage": "required"}, "m6id.large", "m7i.large"),
        ({"AllowedInstanceTypes": ["m7*"]}, "m7i.large", "m6a.large"),
        ({"ExcludedInstanceTypes": ["m7*"]}, "m6a.large", "m7i.large"),
        ({"AcceleratorCount": {"Max": 0}}, "m7i.large", "g6f.large"),
        ({**ANY, "AcceleratorCount": {"Min": 1}}, "g5.xlarge", "m7i.large"),
        ({**ANY, "AcceleratorTypes": ["gpu"]}, "g5.xlarge", "inf2.xlarge"),
        ({**ANY, "AcceleratorTypes": ["inference"]}, "inf2.xlarge", "g5.xlarge"),
        ({**ANY, "AcceleratorManufacturers": ["nvidia"]}, "g5.xlarge", "inf2.xlarge"),
        ({**ANY, "AcceleratorNames": ["a10g"]}, "g5.xlarge", "g6.xlarge"),
        ({**ANY, "BareMetal": "required"}, "m7i.metal-24xl", "m7i.large"),
        ({**ANY, "MemoryGiBPerVCpu": {"Min": 8}}, "r7i.large", "m7i.large"),
    ],
)
def test_requirements_are_honoured(more: dict[str, Any], there: str, not_there: str) -> None:
    found = types({**SMALL, **more})
    assert there in found
    assert not_there not in found


def test_the_architecture_of_requirements_is_honoured() -> None:
    assert {"m7g.large"} <= set(types(SMALL, architecture="arm64"))
    assert not {"m7i.large"} & set(types(SMALL, architecture="arm64"))


@pytest.mark.parametrize(
    "wanted",
    [
        {"VCpuCount": {"Min": 1}},
        {**ANY, "AllowedInstanceTypes": ["m7i.*"], "ExcludedInstanceTypes": ["m7i.large"]},
    ],
)
def test_wrong_requirements_are_refused(wanted: dict[str, Any]) -> None:
    with pytest.raises(Ec2Error):
        Region().ec2.request(
            "GetInstanceTypesFromInstanceRequirements",
            {"ArchitectureTypes": ["x86_64"], "VirtualizationTypes": ["hvm"], "InstanceRequirements": wanted},
        )


def test_prices_are_a_model_that_keeps_the_order_of_real_ones() -> None:
    assert prices.on_demand("m7g.large") < prices.on_demand("m7a.large") < prices.on_demand("m7i.large")
    assert prices.on_demand("m6i.large") < prices.on_demand("m7i.large") < prices.on_demand("m7i.xlarge")
    assert prices.on_demand("c7i.large") < prices.on_demand("m7i.large") < prices.on_demand("r7i.large")
    assert prices.on_demand("m7i.xlarge") < prices.on_demand("g5.xlarge")
    for name in catalogue():
        assert 0.2 * prices.on_demand(name) < prices.spot(name, "zone-a") < 0.6 * prices.on_demand(name)
    assert prices.spot("m7i.large", "zone-a") != prices.spot("m7i.large", "zone-b")
