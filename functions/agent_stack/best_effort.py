"""Tolerate: a step whose failure must not keep the later ones from their work."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from agent_stack.domain.errors import AgentStackError
from agent_stack.ports import Telemetry

CycleT = TypeVar("CycleT")


@dataclass(frozen=True, slots=True, kw_only=True)
class BestEffort(Generic[CycleT]):
    """Runs the step; when it fails the cycle goes on as it was, and the failure is said aloud.

    Only for steps nothing later relies on: news for people, and what the next cycle does anyway.
    """

    step: Callable[[CycleT], CycleT]
    telemetry: Telemetry

    def __call__(self, cycle: CycleT) -> CycleT:
        """The step's cycle, or the one it was given."""
        try:
            return self.step(cycle)
        except AgentStackError as error:
            name = type(self.step).__name__
            self.telemetry.error("step_failed", step=name, error=str(error))
            return cycle
