"""The shape of a pipeline without its work: each job prints its command and takes a few seconds.

A pipeline's commands need its repository and its tools; who waits for whom, and which VMs come up, needs neither.
"""

import shlex
import zlib
from dataclasses import replace

from tests.simulator.buildkite import StepKind
from tests.simulator.demo.model import DemoStep
from tests.simulator.demo.pipeline import Pipeline

LONGEST_SECONDS = 4


def pretended(pipeline: Pipeline) -> Pipeline:
    """The same pipeline, with commands that only print what they would do."""
    return replace(pipeline, steps=tuple(map(_pretended, pipeline.steps)))


def _pretended(one: DemoStep) -> DemoStep:
    if one.step.kind is not StepKind.COMMAND:
        return one
    seconds = 1 + zlib.crc32(one.step.shown_label.encode()) % LONGEST_SECONDS
    env = {name: value for name, value in one.step.env.items() if name != "BUILDKITE_PLUGINS"}
    command = f"printf '%s\\n' {shlex.quote(one.step.command)}; sleep {seconds}"
    return replace(one, step=replace(one.step, command=command, label=one.step.shown_label, badge="", env=env))
