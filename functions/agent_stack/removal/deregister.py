"""Withdraw: tell Buildkite that the stack is gone, at its removal."""

from dataclasses import dataclass

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.jobs import Queue
from agent_stack.ports import StacksApi, Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Deregister:
    """De-registers every queue's stack key.

    A removal must never hang on it: without polls the queue shows as disconnected soon anyway.
    """

    stacks: StacksApi
    queues: tuple[Queue, ...]
    telemetry: Telemetry

    def __call__(self) -> tuple[str, ...]:
        """De-register; the answer says what failed."""
        problems: list[str] = []
        for queue in self.queues:
            try:
                self.stacks.deregister(queue.key)
            except AgentStackError as error:
                self.telemetry.error("stack_not_withdrawn", queue=queue.key, error=str(error))
                problems.append(f"{queue.stack_key}: {error}")
            else:
                self.telemetry.info("stack_withdrawn", queue=queue.key, stack_key=queue.stack_key)
        return tuple(problems)
