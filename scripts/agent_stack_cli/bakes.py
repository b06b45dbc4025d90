"""What Image Builder and the logs of its builds say: bakes that failed or go on, and what was added to an image.

The components of infra/image/ write a line for each value into the build's log, and how many there are at their ends.
So what an image holds is read from what its own bake did, and not from today's parameters.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent_stack_cli import lines
from agent_stack_cli.stacks import Stack

FAILED = "FAILED"
OVER = frozenset({"AVAILABLE", "CANCELLED", "DELETED", "DEPRECATED", "DISABLED", FAILED})
"""States of Image Builder's in which a bake does not go on."""

PHRASE = '"in this image"'
"""What each line of the record has, as a filter of CloudWatch's."""

_ADDITION = re.compile(r"\b(BakeImage(?:Repositories|Packages|DockerImages))=(.+?) is (not )?in this image(?:: (.*))?$")
_END = re.compile(r"\bBakeImage (packages|docker images): (\d+) in this image, (\d+) left out\b")
_ENDS = frozenset({"packages", "docker images"})
"""Each component writes one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """One value that a bake left out.

    Attributes:
        setting: the parameter, such as BakeImagePackages.
        why: what dnf, apt, docker or curl said last.
    """

    setting: str
    value: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a bake added.

    Attributes:
        holds: values by parameter.
        whole: whether that is all; older versions of the stack recorded only what is lacking.
    """

    holds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lacks: tuple[Lack, ...] = ()
    whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Bake:
    """One build of the stack's pipeline.

    Attributes:
        arn: as the AMI's tag has it.
        version: of the agent, and the build's number.
        status: Image Builder's word, such as BUILDING.
        reason: why it failed.
        log_groups: where its log is; of the first that has it.
    """

    arn: str
    version: str
    made: str
    status: str
    reason: str
    log_groups: tuple[str, ...]

    @property
    def goes_on(self) -> bool:
        """Whether it may still become an image."""
        return self.status not in OVER


def of_pipeline(stack: Stack, pipeline: str) -> list[Bake]:
    """The builds of that pipeline, the newest first."""
    client = stack.session.client("imagebuilder")
    pages = client.get_paginator("list_image_pipeline_images").paginate(imagePipelineArn=pipeline)
    found = (_bake(shown) for page in pages for shown in page.get("imageSummaryList", ()))
    return sorted(found, key=lambda bake: (bake.made, bake.arn), reverse=True)


def record(stack: Stack, bake: Bake) -> Record | None:
    """What that bake added; None where its log is not there or says nothing about it."""
    for group in bake.log_groups:
        read = record_in(lines.texts(stack, group, stream=bake.version, pattern=PHRASE))
        if read is not None:
            return read
    return None


def record_in(log: Iterable[str]) -> Record | None:
    """What these lines of a build's log record; Image Builder puts words of its own before each."""
    holds: dict[str, list[str]] = {}
    lacks: list[Lack] = []
    ends: dict[str, tuple[int, int]] = {}
    for line in _lines(log):
        if end := _END.search(line):
            ends[end[1]] = int(end[2]), int(end[3])
        elif said := _ADDITION.search(line):
            setting, value, is_not, why = said.groups()
            if is_not:
                lacks.append(Lack(setting=setting, value=value, why=why or ""))
            else:
                holds.setdefault(setting, []).append(value)
    if not ends and not holds and not lacks:
        return None
    told = tuple(map(sum, zip(*ends.values(), strict=True)))
    seen = sum(map(len, holds.values())), len(lacks)
    kept = {setting: tuple(values) for setting, values in holds.items()}
    return Record(holds=kept, lacks=tuple(lacks), whole=set(ends) == _ENDS and told == seen)


def failures(bakes: Sequence[Bake]) -> Iterator[Bake]:
    """Bakes that failed after the newest image was made, the newest first."""
    for bake in bakes:
        if bake.status == "AVAILABLE":
            return
        if bake.status == FAILED:
            yield bake


def by_setting(lacks: Iterable[Lack]) -> Mapping[str, list[Lack]]:
    """What is lacking, by the parameter that names it."""
    found: dict[str, list[Lack]] = {}
    for lack in lacks:
        found.setdefault(lack.setting, []).append(lack)
    return found


def correction(stack: Stack, setting: str, lacks: Sequence[Lack], again: str) -> str:
    """What to do about values of one parameter that a bake left out.

    Args:
        again: the command that bakes once more.
    """
    deployed = [" ".join(value.split()) for value in stack.parameters.get(setting, "").split(",") if value.strip()]
    gone = {" ".join(lack.value.split()) for lack in lacks}
    left = [value for value in deployed if value not in gone]
    without = stack.deploy(f"{setting}={','.join(left)}")
    if left == deployed:
        return f"{setting} does not name it any more; bake once more: {again}"
    return f"Correct it in {setting}, or leave it out: {without}; where its source was down, bake once more: {again}"


def log_of(stack: Stack, bake: Bake) -> str:
    """The command that shows a bake's log."""
    return stack.aws("logs", "tail", bake.log_groups[0], "--log-stream-names", bake.version, "--since", "8d")


def _lines(log: Iterable[str]) -> Iterator[str]:
    """Each line once: CloudWatch may hold several in one event."""
    return (line for text in log for line in text.splitlines())


def _bake(shown: Mapping[str, Any]) -> Bake:
    state, name = shown.get("state", {}), str(shown.get("name", ""))
    arn = str(shown.get("arn", ""))
    set_ = str(shown.get("loggingConfiguration", {}).get("logGroupName", ""))
    names = dict.fromkeys((name, arn.split("/")[1] if arn.count("/") else ""))
    return Bake(
        arn=arn,
        version="/".join(arn.split("/")[2:]) or str(shown.get("version", "")),
        made=str(shown.get("dateCreated", "")),
        status=str(state.get("status", "")),
        reason=str(state.get("reason", "")),
        log_groups=tuple(filter(None, (set_, *(f"/aws/imagebuilder/{one}" for one in names if one)))),
    )
