"""Registrations: whether a 404 may mean that Buildkite has forgotten a queue's stack. Its wording proves nothing."""

from dataclasses import dataclass, field
from datetime import timedelta

from agent_stack.adapters.stacks_api.limits import Names, Operation
from agent_stack.domain.errors import NotFoundError, StackNotFoundError
from agent_stack.domain.identifiers import QueueKey

REGISTERED_FOR_SURE = timedelta(seconds=60)
"""How long a registration proves that a 404 is about the job or the queue. An endpoint may name the stack and one of
these, and answers the same for both."""

REGISTER_AGAIN_AFTER = timedelta(seconds=5)
"""A stack that Buildkite does not take, such as one of a queue that is gone, is not registered with every request."""


@dataclass(slots=True, kw_only=True)
class Registrations:
    """When the stacks of one process were registered, by its monotonic clock.

    Attributes:
        allowed: whether this process may register at all. An inspection may not.
    """

    allowed: bool = True
    _registered_at: dict[QueueKey, timedelta] = field(default_factory=dict, init=False)
    _tried_again_at: dict[QueueKey, timedelta] = field(default_factory=dict, init=False)
    """When a request of each queue led to a registration last, whatever became of it."""

    def registered(self, queue: QueueKey, now: timedelta) -> None:
        """Buildkite took the queue's stack."""
        self._registered_at[queue] = now

    def is_sure(self, queue: QueueKey, now: timedelta) -> bool:
        """Whether Buildkite took it so lately that it has not forgotten it; always, where nothing may be registered."""
        return not self.allowed or _since(self._registered_at.get(queue), now) < REGISTERED_FOR_SURE

    def is_worth_another(self, queue: QueueKey, operation: Operation, error: NotFoundError, now: timedelta) -> bool:
        """Whether to register the stack and to send the request once more after that 404; counts as a try if so."""
        if not self.allowed:
            return False
        about_the_stack = isinstance(error, StackNotFoundError)
        may_be = operation.names is not Names.NOTHING and not self.is_sure(queue, now)
        if not (about_the_stack or may_be) or _since(self._tried_again_at.get(queue), now) < REGISTER_AGAIN_AFTER:
            return False
        self._tried_again_at[queue] = now
        return True


def _since(at: timedelta | None, now: timedelta) -> timedelta:
    return timedelta.max if at is None else now - at
