"""The steps of both chains, as production wires them, by the names of their modules."""

from types import SimpleNamespace
from typing import Any

from agent_stack.dispatcher.chain import DispatcherOptions, dispatcher_steps, in_flight_of
from agent_stack.dispatcher.launch_permission import LaunchPermission
from agent_stack.ports import Ports
from agent_stack.tracker.chain import tracker_steps
from tests.unit.values import a_policy


def step_modules() -> list[str]:
    """Such as `dispatcher.admit`, in order, the dispatcher's first."""
    nothing: Any = SimpleNamespace()
    ports = Ports(**dict.fromkeys(Ports.__dataclass_fields__, nothing))
    options = DispatcherOptions(
        queues=(), stack_key_names=nothing, identity=nothing, read_job_environment=True, program_sha256=""
    )
    steps = (
        *dispatcher_steps(ports, a_policy(), options, in_flight_of(ports, LaunchPermission())),
        *tracker_steps(ports, a_policy(), job_tokens=True),
    )
    made = [getattr(step, "step", step) for step in steps]  # `BestEffort` holds the step that it runs
    return [type(step).__module__.removeprefix("agent_stack.") for step in made]
