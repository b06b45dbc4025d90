"""What `agent-stack images` and doctor say about bakes: what each image holds and lacks, and which bake failed."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent_stack_cli import bakes, images, images_page
from agent_stack_cli.bakes import Lack
from agent_stack_cli.image_findings import baked
from agent_stack_cli.output import Output
from agent_stack_cli.stacks import Stack
from tests.cli.conftest import IMAGE_PARAMETER
from tests.cli.image_builder import build
from tests.cli.served import Served
from tests.cli.test_images import MADE, NAME, NEW, OLD, PLACE, stack
from tests.cli.test_images import baked as baked_image
from tests.infra.image_yard import Yard

__all__ = ["stack"]

GIVEN = IMAGE_PARAMETER.rpartition("/")[2]
PIPELINE = f"{PLACE}-pipeline/{NAME}"
MISSING = "BakeImagePackages=mkae is not in this image: No match for argument: mkae"
FIRST = f"{GIVEN}-a4f123f92bcf-4"
SECOND = f"{GIVEN}-b4f123f92bcf-5"


def said(text: str) -> str:
    """A line as Image Builder writes it."""
    return f"2026-11-15 03:09:12 Info Stdout: {text}"


def ends(packages: int, left_out: int = 0, *, images: int = 0) -> list[str]:
    """How the components' parts of a log end."""
    return [
        said(f"BakeImage packages: {packages} in this image, {left_out} left out"),
        said(f"BakeImage docker images: {images} in this image, 0 left out"),
    ]


@pytest.fixture
def built(served: Served, stack: Stack) -> Iterator[Stack]:
    """Four builds, each with the image of MADE that came of it, and one that failed after them."""
    ids = [NEW, OLD]
    served.front.image_builder.builds[PIPELINE] = [
        build(FIRST, "4.0.3/1", 8, image=ids[1]),
        build(SECOND, "4.0.3/1", 15, image=ids[0]),
        build(SECOND, "4.0.3/2", 22, status="TESTING"),
    ]
    written = []
    try:
        for name, stream, lines in (
            (
                FIRST,
                "4.0.3/1",
                [said("BakeImagePackages=make is in this image"), *ends(1)],
            ),
            (
                SECOND,
                "4.0.3/1",
                [
                    said("Complete!"),
                    "\n".join((said("BakeImagePackages=make is in this image"), f"Stderr: {MISSING}")),
                    said("BakeImageDockerImages=alpine:3.22 is in this image"),
                    *ends(1, 1, images=1),
                ],
            ),
        ):
            written.append(log(served, name, stream, lines))
        yield replace(stack, parameters={**stack.parameters, "BakeImagePackages": "make, mkae"})
    finally:
        served.front.image_builder.builds.clear()
        for group in written:
            served.world._client("logs").delete_log_group(logGroupName=group)


def log(served: Served, name: str, stream: str, lines: Sequence[str]) -> str:
    logs, group = served.world._client("logs"), f"/aws/imagebuilder/{name}"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    now = int(served.clock.now().timestamp() * 1000)
    events: Any = [{"timestamp": now + number, "message": line} for number, line in enumerate(lines)]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
    return group


def shown(stack: Stack, capsys: pytest.CaptureFixture[str]) -> str:
    images_page.run(stack, "list", "", Output(as_json=False))
    return capsys.readouterr().out


def test_each_image_shows_what_its_bake_added_and_what_it_lacks(
    built: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(built, capsys)
    assert f"{OLD} holds packages make\n" in text
    assert f"{NEW} holds packages make; docker images alpine:3.22\n" in text
    assert f"{NEW} lacks BakeImagePackages=mkae: No match for argument: mkae\n" in text
    assert "scripts/deploy demo BakeImagePackages=make --region" in text, "what to do"
    assert "Bake 4.0.3/2 of 2026-11-22T03:00 is TESTING" in text
    images_page.run(built, "list", "", Output(as_json=True))
    data = {one["image"]: one["added"] for one in json.loads(capsys.readouterr().out)["images"]}
    assert data[NEW]["lacks"] == [
        {"setting": "BakeImagePackages", "value": "mkae", "why": "No match for argument: mkae"}
    ]
    assert [of for of, added in data.items() if added is None] == [
        one for one in sorted(MADE, reverse=True) if one not in (NEW, OLD)
    ]


def test_what_the_component_writes_is_what_is_read(tmp_path: Path) -> None:
    """The script and its reader cannot drift apart."""
    yard = Yard(tmp_path, broken=("mkae",))
    yard.bake(
        ("Additions", "Pulls"), Packages="make, mkae", DockerImages="alpine", Repositories="https://e.example/a b c"
    )
    read = bakes.record_in([said(line) for line in yard.said.splitlines()])
    assert read is not None
    assert (read.holds, read.whole) == ({"BakeImagePackages": ("make",), "BakeImageDockerImages": ("alpine",)}, True)
    assert [(one.setting, one.value) for one in read.lacks] == [
        ("BakeImageRepositories", "https://e.example/a b c"),
        ("BakeImagePackages", "mkae"),
    ]
    other = Yard(tmp_path / "other")
    other.bake(("Additions", "Pulls"))
    nothing = bakes.record_in(other.said.splitlines())
    assert nothing == bakes.Record()


def test_a_log_without_its_end_is_shown_as_a_part() -> None:
    """Versions before this one wrote only what is lacking."""
    lack = Lack(setting="BakeImagePackages", value="mkae", why="No match for argument: mkae")
    assert bakes.record_in([said(MISSING)]) == bakes.Record(lacks=(lack,), whole=False)
    assert bakes.record_in(["Complete!"]) is None


def test_doctor_names_setting_value_and_remedy_of_what_an_image_in_use_lacks(built: Stack) -> None:
    (found,) = baked(built)
    assert found.problem == "It lacks of BakeImagePackages: mkae (No match for argument: mkae)"
    assert "BakeImagePackages=make --region" in found.remedy
    assert f"--image-pipeline-arn {PIPELINE}" in found.remedy, "its source may have been down"
    changed = replace(built, parameters={"BakeImagePackages": "make"})
    assert "does not name it any more" in next(iter(baked(changed))).remedy


def test_a_bake_that_failed_after_the_newest_image_is_shown_with_its_reason_and_log(
    served: Served, built: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    known = served.front.image_builder.builds[PIPELINE]
    known[:] = [
        build(FIRST, "4.0.3/7", 7, status="FAILED", reason="before the newest image"),
        *known[:2],
        build(SECOND, "4.0.3/2", 22, status="FAILED", reason="SSM execution failed in state = 'BUILDING'"),
    ]
    text = shown(built, capsys)
    assert "Bake 4.0.3/2 of 2026-11-22T03:00 is FAILED: SSM execution failed in state = 'BUILDING'\n" in text
    assert f"aws logs tail /aws/imagebuilder/{SECOND} --log-stream-names 4.0.3/2" in text
    assert "before the newest" not in text
    failed = next(one for one in baked(built) if one.check.startswith("bake "))
    assert "SSM execution failed" in failed.problem
    assert "start-image-pipeline-execution" in failed.remedy


def test_before_the_first_image_the_bake_that_goes_on_is_shown_and_no_second_one_is_advised(
    served: Served, built: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    served.world._client("ssm").delete_parameter(Name=IMAGE_PARAMETER)
    served.world.ec2.images.known = {}
    served.front.image_builder.builds[PIPELINE] = [build(SECOND, "4.0.3/1", 22, status="BUILDING")]
    text = shown(built, capsys)
    assert "is BUILDING" in text
    assert "start-image-pipeline-execution" not in text


@pytest.mark.parametrize("action", ["imagebuilder:ListImagePipelineImages", "logs:FilterLogEvents"])
def test_what_may_not_be_read_is_said_and_the_images_are_listed(
    served: Served, built: Stack, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    served.front.denied.add(action)
    text = shown(built, capsys)
    assert f"Not shown: what images hold: {action.partition(':')[2]}: AccessDenied" in text
    assert all(image in text for image in MADE)


def test_images_are_listed_without_a_class_document_and_without_a_right_to_the_parameter(
    served: Served, built: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    served.front.denied.add("ssm:GetParameter")
    text = shown(built, capsys)
    assert "Not shown: which image new VMs use: GetParameter: AccessDenied" in text
    assert "Not shown: which classes use them: GetParameter: AccessDenied" in text
    assert "no image is baked yet" not in text
    assert all(image in text for image in MADE)
    assert f"{NEW} holds packages make" in text


def test_a_record_is_read_of_the_newest_images_and_of_those_in_use(served: Served, built: Stack) -> None:
    newer = range(100, 102 + images.MOST_RECORDS)
    known = {
        f"ami-{number:017}": baked_image(f"{NAME}-c4f123f92bcf-6", 26, version=f"4.0.3/{number}") for number in newer
    }
    served.world.ec2.images.known |= known
    served.front.image_builder.builds[PIPELINE] += [
        build(f"{GIVEN}-c4f123f92bcf-6", f"4.0.3/{number}", 26) for number in newer
    ]
    served.front.asked.clear()
    found = images.with_records(built, images.read(built)).images
    assert {one.image for one in found if one.added is not None} == {NEW, OLD}, "both are a class's"
    read = [asked for asked in served.front.asked if asked.action == "logs:FilterLogEvents"]
    assert len(read) == 2 * images.MOST_RECORDS + 2, "two names of a group for those without a log"


def test_doctor_names_a_repository_that_the_baked_system_cannot_take(built: Stack) -> None:
    given = {"BakeImage": "ubuntu-server-24-lts", "BakeImageRepositories": "https://example.com/tools.repo"}
    found = [one for one in baked(replace(built, parameters=given)) if one.check == "BakeImageRepositories"]
    assert ["https://example.com/tools.repo" in one.problem for one in found] == [True]
    assert "scripts/deploy demo BakeImageRepositories=LIST" in found[0].remedy
