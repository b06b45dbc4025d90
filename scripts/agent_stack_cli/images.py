"""`agent-stack images`: the images that this stack baked, what they hold, and which of them new VMs use."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from agent_stack.adapters.ec2.catalog import RESOLVE
from agent_stack.adapters.ssm.json_document import read_json
from agent_stack_cli import bakes
from agent_stack_cli.baked_names import KEEP, TAG, arn, kept, name_of, named_by, parameter_of, pipeline_of
from agent_stack_cli.bakes import Bake, Record
from agent_stack_cli.classes import deployed
from agent_stack_cli.errors import CliError, code_of, words_of
from agent_stack_cli.stacks import Stack

What = Literal["list", "use", "keep", "unkeep"]

PAGE = 200
MOST_RECORDS = 10
"""Logs of bakes that are read, of the newest images and those in use: one call each, and old images may be many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BakedImage:
    """One image.

    Attributes:
        made: when, as EC2 says it: ISO 8601 in UTC.
        agent_version: without what follows a hyphen, which Image Builder's versions cannot have.
        revision: of what is in it besides agent and boot program; empty for the first.
        in_use: whether the stack's image parameter names it.
        classes: whose new VMs get it.
        kept: whether its tag lets nothing remove it.
        arn: of its build.
        added: what the operator added and what is lacking; None when no log says it.
    """

    image: str
    made: str
    state: str
    agent_version: str
    revision: str
    in_use: bool
    classes: tuple[str, ...]
    kept: bool = False
    arn: str = ""
    added: Record | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BakedImages:
    """All of them, the newest first.

    Attributes:
        parameter: the SSM parameter that classes name; empty for a stack that bakes none.
        value: the image in it; empty before the first is baked, None when it may not be read.
        bakes: those that go on, and those that failed after the newest image.
        unreadable: what AWS does not let you read, and why.
    """

    parameter: str
    value: str | None
    images: tuple[BakedImage, ...]
    bakes: tuple[Bake, ...] = ()
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What `use` left in the parameter, and what was there before."""

    parameter: str
    image: str
    before: str
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What `keep` or `unkeep` left, and which classes name the image."""

    image: str
    kept: bool
    changed: bool
    classes: tuple[str, ...]


def read(stack: Stack) -> BakedImages:
    """What is baked, and what uses it."""
    parameter = parameter_of(stack)
    if not parameter:
        return BakedImages(parameter="", value="", images=())
    unreadable: list[str] = []
    value = _looked("which image new VMs use", unreadable, lambda: _value(stack, parameter))
    text = _looked("which classes use them", unreadable, lambda: deployed(stack).text)
    wanted = _images_of_classes(text or "")
    found = [
        BakedImage(
            image=image["ImageId"],
            made=image.get("CreationDate", ""),
            state=image.get("State", ""),
            agent_version=named["agent"],
            revision=named["revision"] or "",
            in_use=image["ImageId"] == value,
            classes=tuple(
                name for name, of in wanted.items() if (value if of == RESOLVE + parameter else of) == image["ImageId"]
            ),
            kept=kept(image),
            arn=named[0],
        )
        for image, named in _described(stack, parameter)
    ]
    newest_first = sorted(found, key=lambda one: (one.made, one.image), reverse=True)
    return BakedImages(parameter=parameter, value=value, images=tuple(newest_first), unreadable=tuple(unreadable))


def _looked(what: str, unreadable: list[str], look: Callable[[], str]) -> str | None:
    """What a look finds; None and a line of why when it may not be taken, because the others go on."""
    try:
        return look()
    except CliError as error:
        unreadable.append(f"{what}: {error.message}")
    except (ClientError, BotoCoreError) as error:
        unreadable.append(f"{what}: {words_of(error)}")
    return None


def with_records(stack: Stack, known: BakedImages) -> BakedImages:
    """The same with what Image Builder and the logs of the bakes say; what may not be read stops nothing."""
    if not known.parameter:
        return known
    unreadable = dict.fromkeys(known.unreadable)
    try:
        built = bakes.of_pipeline(stack, pipeline_of(stack, known.parameter))
    except (ClientError, BotoCoreError) as error:
        return replace(known, unreadable=(*known.unreadable, f"what images hold: {words_of(error)}"))
    by_arn = {bake.arn: bake for bake in built}
    images = []
    for number, image in enumerate(known.images):
        added, bake = None, by_arn.get(image.arn)
        if bake is not None and (number < MOST_RECORDS or image.in_use or image.classes):
            try:
                added = bakes.record(stack, bake)
            except (ClientError, BotoCoreError) as error:
                unreadable[f"what images hold: {words_of(error)}"] = None
        images.append(replace(image, added=added))
    shown = [bake for bake in built if bake.goes_on or bake in set(bakes.failures(built))]
    return replace(known, images=tuple(images), bakes=tuple(shown), unreadable=tuple(unreadable))


def use(stack: Stack, image: str) -> Used:
    """Lets new VMs have that image.

    Raises:
        CliError: it is none of this stack's, or cannot be launched now.
    """
    known, found = _chosen(stack, "use", image)
    if found.state != "available":
        raise CliError(f"{image} is {found.state}: EC2 launches no VM of it", next=stack.agent_stack("images"))
    if not found.in_use:
        stack.session.ssm.put_parameter(
            Name=known.parameter, Value=image, Type="String", DataType="aws:ec2:image", Overwrite=True
        )
    return Used(parameter=known.parameter, image=image, before=known.value or "", changed=not found.in_use)


def bake(stack: Stack) -> str:
    """The command that makes a stack bake an image."""
    return stack.deploy("BakeImage=amazon-linux-2023")


def keep(stack: Stack, what: What, image: str) -> Kept:
    """Lets nothing remove that image, or lets it go.

    Raises:
        CliError: it is none of this stack's.
    """
    _, found = _chosen(stack, what, image)
    key, value = KEEP
    wanted = what == "keep"
    if wanted and not found.kept:
        stack.session.ec2.create_tags(Resources=[image], Tags=[{"Key": key, "Value": value}])
    if found.kept and not wanted:
        stack.session.ec2.delete_tags(Resources=[image], Tags=[{"Key": key}])
    return Kept(image=image, kept=wanted, changed=found.kept != wanted, classes=found.classes)


def _chosen(stack: Stack, what: What, image: str) -> tuple[BakedImages, BakedImage]:
    """The images, and the one that is meant."""
    known = read(stack)
    if not known.parameter:
        raise CliError(f"{stack.name} bakes no image", next=bake(stack))
    if not image:
        raise CliError(f"images {what} needs the id of an image", next=stack.agent_stack("images"))
    found = next((one for one in known.images if one.image == image), None)
    if found is None:
        raise CliError(f"{image} is none that {stack.name} baked", next=stack.agent_stack("images"))
    return known, found


def start(stack: Stack, parameter: str) -> str:
    """The command that bakes once more."""
    pipeline = pipeline_of(stack, parameter)
    return stack.aws("imagebuilder", "start-image-pipeline-execution", "--image-pipeline-arn", pipeline)


def _value(stack: Stack, parameter: str) -> str:
    try:
        return str(stack.session.ssm.get_parameter(Name=parameter)["Parameter"].get("Value", ""))
    except ClientError as error:
        if code_of(error) != "ParameterNotFound":
            raise
        return ""


def _described(stack: Stack, parameter: str) -> Iterator[tuple[Mapping[str, Any], re.Match[str]]]:
    """This stack's baked images, each with what its ARN says. The filter finds those of longer names, too."""
    pages = stack.session.ec2.get_paginator("describe_images").paginate(
        Owners=["self"],
        Filters=[{"Name": f"tag:{TAG}", "Values": [arn(stack, f"image/{name_of(parameter)}*")]}],
        PaginationConfig={"PageSize": PAGE},
    )
    for page in pages:
        for image in page["Images"]:
            named = named_by(stack, parameter, image)
            if named is not None:
                yield image, named


def _images_of_classes(text: str) -> Mapping[str, str]:
    """By class; `doctor` says what is wrong with a document."""
    try:
        classes: Sequence[tuple[str, Any]] = read_json(text)["classes"].items()
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
    return {name: str(one.get("image", "")) for name, one in classes if isinstance(one, dict)}
