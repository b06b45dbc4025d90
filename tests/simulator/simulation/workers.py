"""The hands beside a cycle, as events of the kernel: each task takes effect at a moment of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

from agent_stack.domain.errors import AgentStackError
from agent_stack.ports import Task
from tests.simulator.simulation.kernel import Kernel
from tests.simulator.simulation.process import Died, Process

ResultT = TypeVar("ResultT")
LOOK = timedelta(milliseconds=50)


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


def _method(task: Callable[[], object]) -> str:
    """The port's method that a task calls: `Mortal` names its calls."""
    return str(getattr(getattr(task, "func", task), "__name__", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelWorkers:
    """See the port `Workers`. A task of a process that died before its moment never happens."""

    kernel: Kernel
    process: Process
    latency: Callable[[str], timedelta]

    def submit(self, task: Callable[[], ResultT]) -> KernelTask[ResultT]:
        """See the port."""
        pending: KernelTask[ResultT] = KernelTask()

        def perform() -> None:
            if not self.process.alive:
                return
            try:
                with self.process.at_once():
                    pending.value = task()
            except Died:
                return
            except AgentStackError as error:
                pending.error = error
            pending.ended = True

        self.kernel.after(self.latency(_method(task)), "", perform)
        return pending

    def wait(self, tasks: Sequence[Task[Any]], at_most: timedelta) -> None:
        """See the port."""
        retry_until = self.kernel.now() + at_most
        while not all(task.done() for task in tasks) and self.kernel.now() < retry_until:
            self.kernel.sleep(LOOK)
