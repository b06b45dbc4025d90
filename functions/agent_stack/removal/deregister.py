"""Deregister: removes the stack keys from Buildkite when CloudFormation deletes the stack."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import QueueKey, StackKey
from agent_stack.domain.jobs import Queue
from agent_stack.ports import StacksApi, Telemetry
from agent_stack.stack_keys import StackKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class Deregister:
    """Deregisters every queue's stack key.

    A failure does not stop the removal, because Buildkite shows a queue without polls as disconnected soon anyway.
    """

    stacks: StacksApi
    queues: tuple[Queue, ...]
    stack_keys: StackKeys
    telemetry: Telemetry

    def __call__(self) -> tuple[str, ...]:
        """Deregisters the keys; returns one text for each failure."""
        problems: list[str] = []
        for key, queue in self._keys().items():
            try:
                self.stacks.withdraw(key)
            except AgentStackError as error:
                self.telemetry.error("stack_not_withdrawn", queue=queue, error=str(error))
                problems.append(f"{key}: {error}")
            else:
                self.telemetry.info("stack_withdrawn", queue=queue, stack_key=key)
        return tuple(problems)

    def _keys(self) -> Mapping[StackKey, QueueKey]:
        """The keys of all queues, those of removed queues that are still registered included."""
        try:
            served = [queue.key for queue in self.queues]
            return {**self.stack_keys.retired(served), **{self.stack_keys(queue): queue for queue in served}}
        except AgentStackError as error:
            self.telemetry.error("stack_keys_not_read", error=str(error))
            return {queue.stack_key: queue.key for queue in self.queues}
