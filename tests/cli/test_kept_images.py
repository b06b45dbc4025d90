"""An image that a class names by its id stays: `agent-stack images keep`, and the warning before it may go."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from agent_stack_cli import images, images_page
from agent_stack_cli.baked_names import KEEP
from agent_stack_cli.classes import deployed, validate
from agent_stack_cli.image_findings import images as looked
from agent_stack_cli.output import Output
from agent_stack_cli.session import Session
from agent_stack_cli.stacks import Stack
from tests.cli.served import Served, access_key
from tests.cli.test_images import NEW, OF_OTHERS, OLD, stack
from tests.infra.test_image_model import image as baked_by
from tests.simulator.world import REGION

__all__ = ["stack"]


def tags(served: Served, image: str) -> dict[str, str]:
    return dict(served.world.ec2.images.known[image].tags)


def warned(stack: Stack) -> Sequence[str]:
    return [found.problem for found in looked(stack) if "nothing keeps it" in found.problem]


def test_keep_sets_the_tag_that_the_lifecycle_excludes_and_unkeep_takes_it_away(served: Served, stack: Stack) -> None:
    policy = baked_by("amazon-linux-2023", "x86").resources["OldImages"]["Properties"]["PolicyDetails"][0]
    assert policy["ExclusionRules"]["Amis"]["TagMap"] == dict([KEEP])
    before = tags(served, OLD)
    assert images.keep(stack, "keep", OLD).changed
    assert tags(served, OLD) == {**before, **dict([KEEP])}
    assert [one.image for one in images.read(stack).images if one.kept] == [OLD]
    assert not images.keep(stack, "keep", OLD).changed
    assert images.keep(stack, "unkeep", OLD).changed
    assert tags(served, OLD) == before


def test_a_class_that_names_a_baked_image_is_warned_about_until_it_is_kept(served: Served, stack: Stack) -> None:
    """`large` names it by its id; `default` takes what the parameter names."""
    (said,) = warned(stack)
    command = f"agent-stack images keep {OLD} --stack demo"
    assert command in said
    assert NEW not in said
    pushed = [problem for problem in validate(stack, deployed(stack)) if command in problem.problem]
    assert [problem.severity for problem in pushed] == ["warning"], "before a push, too"
    (found,) = [found for found in looked(stack) if command in found.problem]
    assert found.remedy.startswith("Run that command")
    images.keep(stack, "keep", OLD)
    assert warned(stack) == []


def test_doctor_s_remedy_is_of_the_class_where_the_image_is_right(served: Served, stack: Stack) -> None:
    known = served.world.ec2.images.known
    known |= {NEW: replace(known[NEW], architecture="arm64")}
    (found,) = [found for found in looked(stack) if "the image is arm64" in found.problem]
    assert found.remedy.startswith("Correct the class")


def test_what_becomes_of_an_image_is_told(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    images_page.run(stack, "keep", OLD, Output(as_json=False))
    assert f"agent-stack images unkeep {OLD}" in capsys.readouterr().out
    images_page.run(stack, "list", "", Output(as_json=False))
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(OLD) and "available" in line]
    assert row.split()[-2:] == ["kept", "large"]
    images_page.run(stack, "unkeep", OLD, Output(as_json=False))
    assert "Classes have it still: large" in capsys.readouterr().out
    images_page.run(stack, "use", OLD, Output(as_json=False))
    assert f"Next: agent-stack images keep {OLD}" in capsys.readouterr().out


def test_operate_tags_baked_images_of_its_stack_with_that_tag_only(
    served: Served, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    ec2, (key, value) = stack.session.ec2, KEEP
    for image, tag in ((OLD, "Name"), *((other, key) for other in OF_OTHERS)):
        with pytest.raises(Exception, match="UnauthorizedOperation"):
            ec2.create_tags(Resources=[image], Tags=[{"Key": tag, "Value": value}])
    with pytest.raises(Exception, match="UnauthorizedOperation"):
        ec2.delete_tags(Resources=[OLD], Tags=[{"Key": "Ec2ImageBuilderArn"}])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access_key("read"))
    with pytest.raises(Exception, match="UnauthorizedOperation"):
        images.keep(replace(stack, session=Session(region=REGION)), "keep", OLD)
