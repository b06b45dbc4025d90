"""Reads the demo's pipeline file; every mistake in it is one clear line."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tests.simulator.buildkite import Step


class PipelineError(Exception):
    """The file is not a pipeline; says what is wrong and where."""


class Cancel(StrEnum):
    """When the demo presses Cancel."""

    BOOTING = "booting"
    RUNNING = "running"


class Ran(BaseModel):
    """The job's command ran and ended so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exit_status: int = 0
    log_lines: int | None = None


class Demo(BaseModel):
    """What the demo does with a job, and what must come of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cancel: Cancel | None = None
    standby: bool = False
    """It comes once a VM of its class stands by, and must start on that VM."""

    expect: Ran | Literal["unmatched"] = Ran()


def _rules(value: Any) -> Any:  # noqa: ANN401  (whatever stands in the file; pydantic judges it)
    return [f"{key}={rule}" for key, rule in value.items()] if isinstance(value, Mapping) else value


class PipelineStep(BaseModel):
    """One command step, as Buildkite's pipeline files have it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str
    label: str = ""
    key: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]+$")
    agents: Annotated[list[str], BeforeValidator(_rules)] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    priority: int = 0
    demo: Demo = Demo()


class _Pipeline(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: list[PipelineStep] = Field(min_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoStep:
    """A step, and the demo's part in it."""

    step: Step
    demo: Demo


def read_pipeline(path: Path) -> tuple[DemoStep, ...]:
    """The steps of a pipeline file.

    Raises:
        PipelineError: names the file, the place in it and what is wrong.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PipelineError(f"{path}: is not text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise PipelineError(f"{path}: {where}not YAML: {getattr(error, 'problem', error)}") from None
    try:
        steps = _Pipeline.model_validate(document).steps
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise PipelineError(f"{path}: {place or 'the document'}: {first['msg']}") from None
    return tuple(
        DemoStep(
            step=Step(
                command=step.command,
                label=step.label,
                key=step.key,
                agents=step.agents,
                env=step.env,
                priority=step.priority,
            ),
            demo=step.demo,
        )
        for step in steps
    )
