"""Settle: read what a deployment has just allowed us to read, until that is known everywhere.

CloudFormation says that a role has its policy seconds before the services that ask for it know. A first deployment
would fail of that, and be rolled back.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from agent_stack.domain.errors import NotPermittedError, TransientError
from agent_stack.ports import Clock, Deadline

SETTLES_WITHIN = timedelta(seconds=40)
"""Usually it is seconds."""

RETRY_INTERVAL = timedelta(seconds=4)
ANSWERING = timedelta(seconds=20)
"""Left for CloudFormation's answer."""

ReadT = TypeVar("ReadT")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryUntilPermitted:
    """Reads again while AWS refuses, or does not answer."""

    clock: Clock
    deadline: Deadline

    def __call__(self, read: Callable[[], ReadT]) -> ReadT:
        """What was read.

        Raises:
            AgentStackError: of the last try; any other refusal at once.
        """
        retry_until = self.clock.now() + SETTLES_WITHIN
        while True:
            try:
                return read()
            except (NotPermittedError, TransientError):
                if self.clock.now() >= retry_until or self.deadline.left() <= ANSWERING:
                    raise
                self.clock.sleep(RETRY_INTERVAL)
