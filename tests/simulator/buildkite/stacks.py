"""Registered stacks: who may poll, under which key, within the organisation's quota."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tests.simulator.buildkite.events import EventBus, StackDeregistered, StackRegistered
from tests.simulator.buildkite.identity import Identities
from tests.simulator.buildkite.rules import Refusal


@dataclass(slots=True, kw_only=True, eq=False)
class Stack:
    """One registered stack."""

    id: str
    key: str
    type: str
    queue_key: str
    metadata: dict[str, str] = field(default_factory=dict)
    last_connected_on: datetime


class Stacks:
    """Stacks by key, which is unique in the whole organisation."""

    def __init__(self, *, identities: Identities, events: EventBus, quota: int) -> None:
        self._identities = identities
        self._events = events
        self._quota = quota
        self._by_key: dict[str, Stack] = {}

    @property
    def all(self) -> tuple[Stack, ...]:
        """Every registered stack."""
        return tuple(self._by_key.values())

    def get(self, key: str, at: datetime) -> Stack:
        """The stack with that key, seen now.

        Raises:
            Refusal: 404, no such stack is registered.
        """
        stack = self._by_key.get(key)
        if stack is None:
            raise Refusal(404, "Stack not found")
        stack.last_connected_on = at
        return stack

    def register(
        self, *, key: str, stack_type: str, queue_key: str, metadata: Mapping[str, str], at: datetime
    ) -> tuple[Stack, bool]:
        """Register a stack or update it, which may bind it to another queue.

        A key is unique in the organisation: two stacks that chose the same one are one stack to the service.

        Returns:
            The stack and whether it is new.

        Raises:
            Refusal: 403, the organisation has as many stacks as it may.
        """
        stack = self._by_key.get(key)
        new = stack is None
        before = None if stack is None or stack.queue_key == queue_key else stack.queue_key
        if stack is None:
            if len(self._by_key) >= self._quota:
                raise Refusal(403, "This organization has reached its limit of active stacks")
            stack = Stack(
                id=self._identities.uuid(), key=key, type=stack_type, queue_key=queue_key, last_connected_on=at
            )
            self._by_key[key] = stack
        stack.type, stack.queue_key, stack.metadata = stack_type, queue_key, dict(metadata)
        stack.last_connected_on = at
        self._events.publish(StackRegistered(at=at, stack_key=key, queue_key=queue_key, new=new, before=before))
        return stack, new

    def deregister(self, stack: Stack, at: datetime) -> None:
        """Forget a stack. What it had reserved stays reserved until the reservation expires."""
        del self._by_key[stack.key]
        self._events.publish(StackDeregistered(at=at, stack_key=stack.key))
