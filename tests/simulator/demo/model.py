"""What the demo does with a job, and what must come of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tests.simulator.buildkite import Step


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

    expect: Ran | Literal["unmatched", "not_run"] | None = None
    """None: it passes, as Buildkite says: at once, after its retries, or because its failure is soft."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoStep:
    """A step, and the demo's part in it."""

    step: Step
    demo: Demo
    line: int = 0
    fields: Mapping[str, str] = field(default_factory=dict)
    """What the demo fills in when it releases a block or input step."""
