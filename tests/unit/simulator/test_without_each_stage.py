"""Every stage that is wired is one that can be taken out, and only that one is."""

import ast
import inspect
from dataclasses import fields
from typing import Any

import pytest

from agent_stack.settings import Settings
from agent_stack.stages.ticks import DispatcherTick, TrackerTick
from agent_stack.wiring import chains
from tests.simulator.chain_source import CHAINS, FUNCTIONS, without
from tests.simulator.telemetry import RecordedTelemetry
from tests.simulator.universe.outcome import stages
from tests.simulator.universe.universe import stage_name
from tests.simulator.without_each_stage import report
from tests.unit.values import an_environment

SOURCE = (FUNCTIONS / CHAINS).read_text()
STAGES = stages()


def takes_a_tick(value: object) -> bool:
    """A class whose instances are steps; those that are there to wrap a step take any tick."""
    if not inspect.isclass(value):
        return False
    hints = [str(hint) for hint in getattr(value.__call__, "__annotations__", {}).values()]
    return any(
        hint.rpartition(".")[2].rstrip("'>") in {DispatcherTick.__name__, TrackerTick.__name__} for hint in hints
    )


def test_no_stage_that_the_wiring_knows_is_left_out_of_the_list() -> None:
    """One that is wired by a setting that the world does not have would not be taken out by anybody."""
    assert {name for name, value in vars(chains).items() if takes_a_tick(value)} == set(STAGES)


def wired(source: str) -> tuple[str, ...]:
    """The stages of both chains, by wiring that was made from that source."""
    made: dict[str, Any] = {"__name__": chains.__name__}
    exec(compile(source, str(CHAINS), "exec"), made)
    settings = Settings.from_environment(an_environment(READ_JOB_ENVIRONMENT="true"))
    nothing: dict[str, Any] = {field.name: RecordedTelemetry() for field in fields(chains.Ports)}  # none is asked
    ports = chains.Ports(**nothing)
    steps = made["dispatcher_steps"](ports, settings, chains.launches_of(ports, settings))
    return tuple(stage_name(step) for step in (*steps, *made["tracker_steps"](ports, settings)))


@pytest.mark.parametrize("stage", STAGES)
def test_the_source_lacks_the_stage_and_nothing_else(stage: str) -> None:
    assert wired(without(stage, SOURCE)) == tuple(name for name in STAGES if name != stage)


def test_with_nothing_taken_out_the_source_is_as_it_is() -> None:
    assert without("", SOURCE) == SOURCE


@pytest.mark.parametrize("source", ["a = (Poll(), Poll())", "a = (Admit(),)"])
def test_a_stage_that_does_not_stand_there_once_is_refused(source: str) -> None:
    ast.parse(source)
    with pytest.raises(ValueError, match="Poll"):
        without("Poll", source)


def test_a_stage_that_nobody_misses_fails_the_run_and_so_does_a_control_that_finds_something() -> None:
    assert report([("", ""), ("Poll", "late")]) == 0
    assert report([("", ""), ("Poll", "")]) == 1
    assert report([("", "late"), ("Poll", "late")]) == 1
