"""Deregister: removes the stack keys from Buildkite when CloudFormation deletes the stack."""

from dataclasses import dataclass

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.jobs import Queue
from agent_stack.ports import StacksApi, Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Deregister:
    """Deregisters every queue's stack key.

    A failure does not stop the removal, because Buildkite shows a queue without polls as disconnected soon anyway.
    """

    stacks: StacksApi
    queues: tuple[Queue, ...]
    telemetry: Telemetry

    def __call__(self) -> tuple[str, ...]:
        """Deregisters the keys; returns one text for each failure."""
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
