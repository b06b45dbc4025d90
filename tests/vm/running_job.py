"""A job of a yard, and what came of its hook."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """A job that an agent runs."""

    id: str
    pipeline_id: str
    token: str = field(repr=False)
    env: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooked:
    """What became of a job's environment hook and what it ran after it."""

    code: int
    out: str
    said: str
    env: Mapping[str, str]
