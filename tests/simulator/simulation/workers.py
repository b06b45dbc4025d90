"""The hands beside a cycle, as events of the kernel: each task takes effect at a moment of its own."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

from agent_stack.domain.errors import AgentStackError
from agent_stack.ports import Task
from tests.simulator.simulation.kernel import Kernel
from tests.simulator.simulation.process import Died, Process

ResultT = TypeVar("ResultT")
LOOK = timedelta(milliseconds=10)


@dataclass(slots=True, kw_only=True)
class KernelTask(Generic[ResultT]):
    """See the port `Task`."""

    value: ResultT | None = None
    error: AgentStackError | None = None
    ended: bool = False

    def done(self) -> bool:
        """See the port."""
        return self.ended

    def result(self) -> ResultT:
        """See the port."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # set when it ended without an error


def _point(task: Callable[[], object]) -> str:
    """The port and method that a task calls, as in `dispatcher fleet.launch`: `Mortal` names its calls."""
    return str(getattr(getattr(task, "func", task), "__qualname__", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelWorkers:
    """See the port `Workers`. A task of a process that died before its moment never happens.

    Attributes:
        counted: what a task's own CPU is measured within.
    """

    kernel: Kernel
    process: Process
    counted: Callable[[], AbstractContextManager[None]] = nullcontext

    def submit(self, task: Callable[[], ResultT]) -> KernelTask[ResultT]:
        """See the port."""
        pending: KernelTask[ResultT] = KernelTask()
        point = _point(task)

        def perform() -> None:
            if not self.process.alive:
                return
            try:
                with self.process.at_once(), self.counted():
                    pending.value = task()
            except Died:
                return
            except AgentStackError as error:
                pending.error = error
            reading = self.process.after_task(point, pending.value)
            if reading:
                self.kernel.after(reading, "", end)
            else:
                end()

        def end() -> None:
            pending.ended = self.process.alive

        self.kernel.after(self.process.before_task(point), "", perform)
        return pending

    def wait(self, tasks: Sequence[Task[Any]], at_most: timedelta) -> None:
        """See the port."""
        retry_until = self.kernel.now() + at_most
        while not all(task.done() for task in tasks) and self.kernel.now() < retry_until:
            self.kernel.sleep(LOOK)
            if not self.process.alive:
                raise Died  # in a task: a process that is gone waits for nothing
