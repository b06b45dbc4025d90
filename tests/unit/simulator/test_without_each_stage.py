"""Every stage that is wired is one that can be taken out, and only that one is."""

import ast
import inspect
from types import SimpleNamespace
from typing import Any

import pytest

from agent_stack.dispatcher import chain as dispatcher_chain
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.launch_permission import LaunchPermission
from agent_stack.ports import Ports
from agent_stack.settings import Settings
from agent_stack.tracker import chain as tracker_chain
from agent_stack.tracker.cycle import TrackerCycle
from agent_stack.wiring.options import dispatcher_options
from tests.simulator.chain_source import CHAINS, FUNCTIONS, without
from tests.simulator.simulation.outcome import stages
from tests.simulator.simulation.wiring import stage_name
from tests.simulator.without_each_stage import report
from tests.unit.values import an_environment

SOURCES = [(FUNCTIONS / chain).read_text() for chain in CHAINS]
STAGES = stages()


def takes_a_tick(value: object) -> bool:
    """A class whose instances are steps; those that are there to wrap a step take any cycle."""
    if not inspect.isclass(value):
        return False
    hints = [str(hint) for hint in getattr(value.__call__, "__annotations__", {}).values()]
    return any(
        hint.rpartition(".")[2].rstrip("'>") in {DispatcherCycle.__name__, TrackerCycle.__name__} for hint in hints
    )


def test_no_stage_that_the_wiring_knows_is_left_out_of_the_list() -> None:
    """A stage that is wired by a setting that the simulation does not have would never be taken out."""
    known = {**vars(dispatcher_chain), **vars(tracker_chain)}
    steps = {name for name, value in known.items() if takes_a_tick(value) and name not in HELPERS}
    assert steps == set(STAGES)


HELPERS = {"ClassRoom", "LaunchRoom", "LaunchDeadline", "SendLaunch", "StandbyTroubles", "SurplusVms", "VcpuRoom"}
"""Parts of a step that are given its cycle."""


def wired(sources: list[str]) -> tuple[str, ...]:
    """The stages of both chains, by chains that were made from those sources."""
    made: dict[str, Any] = {}
    for chain, source in zip((dispatcher_chain, tracker_chain), sources, strict=True):
        space: dict[str, Any] = {"__name__": chain.__name__}
        exec(compile(source, chain.__name__, "exec"), space)
        made |= space
    settings = Settings.from_environment(an_environment(READ_JOB_ENVIRONMENT="true"))
    nothing: Any = SimpleNamespace()  # no step is run
    ports = Ports(**dict.fromkeys(Ports.__dataclass_fields__, nothing))
    launches = made["in_flight_of"](ports, LaunchPermission())
    steps = made["dispatcher_steps"](ports, settings.policy, dispatcher_options(settings), launches)
    steps += made["tracker_steps"](ports, settings.policy, job_tokens=True)
    return tuple(map(stage_name, steps))


@pytest.mark.parametrize("stage", STAGES)
def test_the_source_lacks_the_stage_and_nothing_else(stage: str) -> None:
    assert wired(without(stage, *SOURCES)) == tuple(name for name in STAGES if name != stage)


def test_with_nothing_taken_out_the_source_is_as_it_is() -> None:
    assert without("", *SOURCES) == SOURCES


@pytest.mark.parametrize("source", ["a = (Poll(), Poll())", "a = (Admit(),)"])
def test_a_stage_that_does_not_stand_there_once_is_refused(source: str) -> None:
    ast.parse(source)
    with pytest.raises(ValueError, match="Poll"):
        without("Poll", source)


def test_a_stage_that_nobody_misses_fails_the_run_and_so_does_a_control_that_finds_something() -> None:
    assert report([("", ""), ("Poll", "late")]) == 0
    assert report([("", ""), ("Poll", "")]) == 1
    assert report([("", "late"), ("Poll", "late")]) == 1
