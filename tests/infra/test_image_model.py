"""What Image Builder is asked is what its own model allows: names, lengths, patterns and choices of every argument."""

import re
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from infra.baked_program import IMAGE
from infra.template_yaml import loads
from tests.infra.stacks import REGION
from tests.simulator.deployment import Resolved

CALLS = {
    "AWS::ImageBuilder::Component": "CreateComponent",
    "AWS::ImageBuilder::ImagePipeline": "CreateImagePipeline",
    "AWS::ImageBuilder::ImageRecipe": "CreateImageRecipe",
    "AWS::ImageBuilder::InfrastructureConfiguration": "CreateInfrastructureConfiguration",
    "AWS::ImageBuilder::LifecyclePolicy": "CreateLifecyclePolicy",
}
"""By CloudFormation's type, the call that it makes of such a resource."""

OTHER_NAMES = {"version": "semanticVersion"}
MODEL = botocore.session.get_session().get_service_model("imagebuilder")
SYSTEMS = [("amazon-linux-2023", "x86"), ("amazon-linux-2023", "arm64"), ("ubuntu-server-24-lts", "x86")]


def image(system: str, architecture: str, **more: str) -> Resolved:
    parameters = {
        "Name": f"ci-{system}-{architecture}",
        "OperatingSystem": system,
        "Architecture": architecture,
        "AgentVersion": "4.0.3",
        "AgentDownloadUrl": "https://download.buildkite.com/agent/stable",
        "SubnetId": "subnet-0123456789abcdef0",
        "SecurityGroupId": "sg-0123456789abcdef0",
        **more,
    }
    return Resolved(loads(IMAGE.read_text()), parameters, region=REGION)


def asked(properties: Any) -> Any:  # noqa: ANN401  (JSON)
    """Properties of CloudFormation's under the API's names."""
    if isinstance(properties, dict):
        lower = {name[0].lower() + name[1:]: asked(value) for name, value in properties.items()}
        return {OTHER_NAMES.get(name, name): value for name, value in lower.items()}
    return [asked(one) for one in properties] if isinstance(properties, list) else properties


def problems(shape: Any, value: Any, at: str) -> list[str]:  # noqa: ANN401  (botocore's, and JSON)
    """What the model does not allow, besides what botocore checks itself: longest, most, patterns and choices."""
    found: list[str] = []
    if shape.type_name == "structure":
        for name, member in value.items():
            if name not in shape.members:
                found.append(f"{at}.{name} is unknown")
                continue
            found += problems(shape.members[name], member, f"{at}.{name}")
    elif shape.type_name == "list":
        for number, member in enumerate(value):
            found += problems(shape.member, member, f"{at}[{number}]")
    most = shape.metadata.get("max")
    if most is not None and (len(value) if hasattr(value, "__len__") else value) > most:
        found.append(f"{at} has more than {most}")
    if shape.type_name == "string":
        pattern, choices = shape.metadata.get("pattern"), shape.metadata.get("enum")
        if pattern and not re.search(pattern, value):
            found.append(f"{at} is {value!r}, and not {pattern}")
        if choices and value not in choices:
            found.append(f"{at} is {value!r}, and none of {choices}")
    return found


def findings(kind: str, properties: dict[str, Any]) -> list[str]:
    shape = MODEL.operation_model(CALLS[kind]).input_shape
    assert shape is not None
    given = {"clientToken": "0", **asked(properties)}
    report = ParamValidator().validate(given, shape).generate_report()
    unknown = [f"{kind}.{name} is unknown" for name in given if name not in shape.members]
    return [*unknown, *filter(None, report.splitlines()), *(problems(shape, given, kind) if not unknown else ())]


def arns(made: Resolved) -> dict[str, str]:
    """CloudFormation's Ref of an Image Builder resource is its ARN, which the simulation does not make up."""
    place = "arn:aws:imagebuilder:eu-central-1:123456789012"
    by_type = {
        "Component": "component",
        "ImageRecipe": "image-recipe",
        "InfrastructureConfiguration": "infrastructure-configuration",
    }
    found = {}
    for name, resource in made.resources.items():
        kind = resource["Type"].rpartition("::")[2]
        if resource["Type"] in CALLS and kind in by_type:
            version = "" if kind == "InfrastructureConfiguration" else "/4.0.3"
            build = "/1" if kind == "Component" else ""
            found[name] = f"{place}:{by_type[kind]}/{resource['Properties']['Name'].lower()}{version}{build}"
    return found


def with_arns(value: Any, known: dict[str, str], made: Resolved) -> Any:  # noqa: ANN401  (JSON)
    if isinstance(value, dict):
        return {name: with_arns(member, known, made) for name, member in value.items()}
    if isinstance(value, list):
        return [with_arns(member, known, made) for member in value]
    return next((known[name] for name in known if value in (f"{name}Id", made.arn(name))), value)


@pytest.mark.parametrize(("system", "architecture"), SYSTEMS)
def test_image_builder_takes_every_argument(system: str, architecture: str) -> None:
    made = image(system, architecture)
    resources = {name: one for name, one in made.resources.items() if one["Type"] in CALLS}
    assert {one["Type"] for one in resources.values()} == set(CALLS)
    known = arns(made)
    for name, one in resources.items():
        properties = with_arns(one["Properties"], known, made)
        assert findings(one["Type"], properties) == [], name


@pytest.mark.parametrize(
    ("system", "device"), [("amazon-linux-2023", "/dev/xvda"), ("ubuntu-server-24-lts", "/dev/sda1")]
)
def test_a_disk_of_another_size_is_the_root_disk_of_the_system(system: str, device: str) -> None:
    made = image(system, "x86", VolumeGib="30")
    recipe = made.resources["Recipe"]["Properties"]
    (disk,) = recipe["BlockDeviceMappings"]
    assert (disk["DeviceName"], int(disk["Ebs"]["VolumeSize"])) == (device, 30)
    disk["Ebs"]["VolumeSize"] = int(disk["Ebs"]["VolumeSize"])  # CloudFormation's own way with numbers
    assert findings("AWS::ImageBuilder::ImageRecipe", with_arns(recipe, arns(made), made)) == []
    assert "BlockDeviceMappings" not in image(system, "x86").resources["Recipe"]["Properties"]


def test_old_images_go_with_their_snapshots_and_those_that_are_new_or_were_launched_lately_stay() -> None:
    made = image("amazon-linux-2023", "x86").resources
    policy = made["OldImages"]["Properties"]
    assert policy["ResourceSelection"]["TagMap"] == made["Pipeline"]["Properties"]["ImageTags"]
    assert policy["ResourceSelection"]["TagMap"]["agent-stack:image"] == "ci-amazon-linux-2023-x86", "no other stack's"
    (one,) = policy["PolicyDetails"]
    assert one["Action"] == {"Type": "DELETE", "IncludeResources": {"Amis": True, "Snapshots": True}}
    assert (one["Filter"]["Type"], one["Filter"]["Value"] > 1) == ("COUNT", True), "one to go back to"
    assert one["ExclusionRules"]["Amis"]["LastLaunched"]["Value"] >= 30


@pytest.mark.parametrize(
    "change",
    [
        {"PolicyDetails": [{"Action": {"Type": "REMOVE"}, "Filter": {"Type": "COUNT", "Value": 5}}]},
        {"PolicyDetails": [{"Action": {"Type": "DELETE"}, "Filter": {"Type": "COUNT", "Value": 5, "Unit": "HOURS"}}]},
        {"PolicyDetails": [{"Action": {"Type": "DELETE"}, "Filter": {"Type": "COUNT", "Value": 1001}}]},
        {"ResourceSelection": {"Tags": {"a": "b"}}},
    ],
)
def test_the_test_finds_a_lifecycle_that_the_model_forbids(change: dict[str, Any]) -> None:
    fine = dict(image("amazon-linux-2023", "x86").resources["OldImages"]["Properties"])
    role = {"ExecutionRole": "arn:aws:iam::123456789012:role/ci"}
    assert findings("AWS::ImageBuilder::LifecyclePolicy", {**fine, **role}) == []
    assert findings("AWS::ImageBuilder::LifecyclePolicy", {**fine, **role, **change}) != []


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("AWS::ImageBuilder::Component", {"Data": "x" * 16_001}),
        ("AWS::ImageBuilder::Component", {"Platform": "Unix"}),
        ("AWS::ImageBuilder::Component", {"Version": "4.0"}),
        ("AWS::ImageBuilder::Component", {"Name": "ci/agent"}),
        ("AWS::ImageBuilder::Component", {"Text": "x"}),
    ],
)
def test_the_test_finds_what_the_model_forbids(kind: str, change: dict[str, Any]) -> None:
    fine = {"Name": "ci-agent", "Version": "4.0.3", "Platform": "Linux", "Data": "x"}
    assert findings(kind, fine) == []
    assert findings(kind, {**fine, **change}) != []
