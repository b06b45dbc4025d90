"""Reads a pipeline file; every mistake in it is one clear line with its remedy, and what is not played is named."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.simulator.demo import values
from tests.simulator.demo.expand import Expansion
from tests.simulator.demo.model import Cancel, Demo, DemoStep, Ran
from tests.simulator.demo.written import Mistake, Note, Written
from tests.simulator.demo.yaml_lines import YamlError, line_of, load

__all__ = ["Cancel", "Demo", "DemoStep", "Note", "Pipeline", "PipelineError", "Ran", "parse_pipeline", "read_pipeline"]


class PipelineError(Exception):
    """The file is not a pipeline; says what is wrong and where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A pipeline file as the demo plays it.

    Attributes:
        env: variables of all its jobs.
        notes: what is not played, or otherwise than Buildkite does; by line.
    """

    steps: tuple[DemoStep, ...]
    env: Mapping[str, str]
    notes: tuple[Note, ...]

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that its steps name."""
        named = (one.step.stated_queue for one in self.steps)
        return tuple(dict.fromkeys(queue for queue in named if queue is not None))


def read_pipeline(path: Path, *, real_agent: bool = False) -> Pipeline:
    """The pipeline in a file.

    Args:
        real_agent: whether jobs are run by an agent that knows plugins.

    Raises:
        PipelineError: names the file, the line and what is wrong.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PipelineError(f"{path}: is not text") from None
    try:
        return parse_pipeline(text, real_agent=real_agent)
    except YamlError as error:
        where = f", line {error.line}, column {error.column}" if error.line else ""
        raise PipelineError(f"{path}{where}: not YAML: {error}") from None
    except Mistake as error:
        raise PipelineError(f"{path}, line {error.line}: {error}") from None


def parse_pipeline(text: str, *, real_agent: bool = False) -> Pipeline:
    """The pipeline in a text.

    Raises:
        YamlError: it is not YAML.
        Mistake: it is not a pipeline.
    """
    document: Any = load(text)
    if isinstance(document, list):  # the steps alone will do
        document = {"steps": document}
    notes: list[Note] = []
    if not isinstance(document, Mapping) or "steps" not in document:
        raise Mistake(1, "a pipeline has `steps`, a list of steps")
    written = Written(document, line=1, what="a pipeline", notes=notes)
    env = written.take("env", values.env, {})
    expansion = Expansion(
        agents=written.take("agents", values.rules, ()),
        priority=written.take("priority", values.whole, 0),
        notes=notes,
        real_agent=real_agent,
    )
    steps = expansion.steps(written.raw("steps"), line_of(document, ["steps"]))
    written.rest()
    return Pipeline(steps=steps, env=env, notes=tuple(sorted(set(notes))))
