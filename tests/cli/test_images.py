"""`agent-stack images`: what is listed is this stack's and nobody else's, and a rollback is one command."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from agent_stack_cli import images, images_page
from agent_stack_cli.baked_names import TAG
from agent_stack_cli.errors import CliError
from agent_stack_cli.output import Output
from agent_stack_cli.session import Session
from agent_stack_cli.stacks import Stack, find
from tests.cli.conftest import CLASSES, IMAGE_PARAMETER
from tests.cli.served import Served, access_key
from tests.infra.test_image_model import image as baked_by
from tests.simulator.cloud.images import Image
from tests.simulator.world import REGION

pytestmark = pytest.mark.share(3)

PLACE = "arn:aws:imagebuilder:eu-central-1:123456789012:image"
NAME = "demo-amazon-linux-2023-x86"


def baked(recipe: str, day: int, *, state: str = "available", version: str = "4.0.3/1") -> Image:
    tags = {"CreatedBy": "EC2 Image Builder", TAG: f"{PLACE}/{recipe}/{version}"}
    return Image(tags=tags, created_at=f"2026-11-{day:02}T03:00:00.000Z", state=state)


MADE = {
    "ami-00000000000000001": baked(f"{NAME}-4", 1, version="4.0.2/7"),
    "ami-00000000000000002": baked(f"{NAME}-a4f123f92bcf-4", 8),
    "ami-00000000000000003": baked(f"{NAME}-b4f123f92bcf-5", 15),
    "ami-00000000000000004": baked(f"{NAME}-b4f123f92bcf-5", 22, state="pending", version="4.0.3/2"),
}
OF_OTHERS = {
    "ami-00000000000000011": baked(f"{NAME}-arm64-b4f123f92bcf-5", 9),
    "ami-00000000000000012": baked(f"other-{NAME}-b4f123f92bcf-5", 9),
    "ami-00000000000000013": Image(tags={"Name": NAME}),
}
OLD, NEW = "ami-00000000000000002", "ami-00000000000000003"


@pytest.fixture
def stack(served: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """The stack as it is with BakeImage, seen by an operator: moto has no outputs of nested stacks."""
    for name, value in served.environment.items():
        monkeypatch.setenv(name, value)
    ssm = served.world._client("ssm")
    known = dict(served.world.ec2.images.known)
    served.world.ec2.images.known |= {**OF_OTHERS, **MADE}
    ssm.put_parameter(Name=IMAGE_PARAMETER, Value=NEW, Type="String", DataType="aws:ec2:image", Overwrite=True)
    written = json.loads(CLASSES)
    written["classes"]["default"]["image"] = f"resolve:ssm:{IMAGE_PARAMETER}"
    written["classes"]["large"]["image"] = OLD
    classes = served.world.deployed.environments["dispatcher"]["CLASSES_PARAMETER"]
    before = ssm.get_parameter(Name=classes)["Parameter"]["Value"]
    ssm.put_parameter(Name=classes, Value=json.dumps(written), Overwrite=True)
    found = find(Session(region=REGION), "demo")
    try:
        yield replace(found, outputs={**found.outputs, "ImageParameter": IMAGE_PARAMETER})
    finally:
        ssm.put_parameter(Name=classes, Value=before, Overwrite=True)
        served.world.ec2.images.known = known


def test_the_images_of_this_stack_are_listed_newest_first_with_who_uses_them(stack: Stack) -> None:
    found = images.read(stack)
    assert [one.image for one in found.images] == sorted(MADE, reverse=True)
    assert {one.image: one.classes for one in found.images if one.classes} == {NEW: ("default",), OLD: ("large",)}
    assert [one.image for one in found.images if one.in_use] == [NEW] == [found.value]
    facts = [(one.agent_version, one.revision, one.state) for one in found.images]
    assert facts == [
        ("4.0.3", "5", "pending"), ("4.0.3", "5", "available"), ("4.0.3", "4", "available"),
        ("4.0.2", "4", "available"),
    ]  # fmt: skip


def test_the_images_that_the_template_bakes_now_are_among_them(served: Served, stack: Stack) -> None:
    """Their names come from infra/image.yaml."""
    made: Any = baked_by("amazon-linux-2023", "x86").resources["Recipe"]["Properties"]
    recipe = made["Name"].lower().replace("ci-", "demo-", 1)
    served.world.ec2.images.known = {"ami-1": baked(recipe, 1, version=f"{made['Version']}/1")}
    assert [one.image for one in images.read(stack).images] == ["ami-1"]


def test_use_goes_back_in_one_command_and_names_the_way_forth(
    served: Served, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    images_page.run(stack, "use", OLD, Output(as_json=False))
    said = capsys.readouterr().out
    assert f"To go back: agent-stack images use {NEW} --stack demo" in said
    held = served.world._client("ssm").get_parameter(Name=IMAGE_PARAMETER)["Parameter"]
    assert (held["Value"], held["DataType"]) == (OLD, "aws:ec2:image")
    (default,) = [one for one in images.read(stack).images if "default" in one.classes]
    assert default.image == OLD
    assert not images.use(stack, OLD).changed


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("ami-00000000000000004", "is pending"),
        ("ami-00000000000000011", "none that demo baked"),
        ("ami-0123456789abcdef0", "none that demo baked"),
        ("", "needs the id of an image"),
    ],
)
def test_an_image_that_is_not_this_stacks_or_not_ready_is_not_written(
    served: Served, stack: Stack, image: str, why: str
) -> None:
    with pytest.raises(CliError, match=why) as raised:
        images.use(stack, image)
    assert raised.value.next.startswith("agent-stack images")
    assert served.world._client("ssm").get_parameter(Name=IMAGE_PARAMETER)["Parameter"]["Value"] == NEW


def test_only_operate_may_use_another_image(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access_key("read"))
    reader = replace(stack, session=Session(region=REGION))
    assert len(images.read(reader).images) == len(MADE)
    with pytest.raises(Exception, match="not authorized to perform: ssm:PutParameter"):
        images.use(reader, OLD)


def test_a_stack_without_images_and_one_before_its_first_say_what_to_run(
    served: Served, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Next: scripts/deploy demo BakeImage=amazon-linux-2023" in served.ok("images")
    assert served.data("images") == {
        "parameter": "",
        "value": "",
        "images": [],
        "bakes": [],
        "unreadable": [],
    }
    assert "demo bakes no image" in served.run("images", "use", OLD).stderr
    served.world._client("ssm").delete_parameter(Name=IMAGE_PARAMETER)
    served.world.ec2.images.known = {}
    images_page.run(stack, "list", "", Output(as_json=False))
    assert f"start-image-pipeline-execution --image-pipeline-arn {PLACE}-pipeline/{NAME}" in capsys.readouterr().out
