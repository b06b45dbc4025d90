"""Best effort: a step, or a write of many items, that may fail without stopping the rest of its cycle."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from agent_stack.domain.errors import AgentStackError
from agent_stack.ports import Telemetry

CycleT = TypeVar("CycleT")
ItemT = TypeVar("ItemT")


def written(
    write: Callable[[Sequence[ItemT]], Sequence[ItemT]], items: Sequence[ItemT], telemetry: Telemetry
) -> Sequence[ItemT]:
    """The items that were written; none, and an error in the log, when the write failed as a whole.

    So a write that fails costs its own items one cycle, and the results of other writes nothing.
    """
    if not items:
        return ()
    try:
        return write(items)
    except AgentStackError as error:
        telemetry.error("runs_not_written", count=len(items), error=str(error))
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BestEffort(Generic[CycleT]):
    """Runs the step. When the step fails, the failure is logged at ERROR and the cycle goes on unchanged.

    Only for steps that no later step relies on: notifications, and work that the next cycle repeats.
    """

    step: Callable[[CycleT], CycleT]
    telemetry: Telemetry

    def __call__(self, cycle: CycleT) -> CycleT:
        """The cycle that the step returns, or the given one when the step fails."""
        try:
            return self.step(cycle)
        except AgentStackError as error:
            name = type(self.step).__name__
            self.telemetry.error("step_failed", step=name, error=str(error))
            return cycle
