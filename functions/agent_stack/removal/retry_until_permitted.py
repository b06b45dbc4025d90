"""Retry until permitted: repeats a read while a new IAM permission is not yet effective.

IAM is eventually consistent: CloudFormation reports a role's policy as complete seconds before other services accept
it. Without retries the first deployment would fail, and CloudFormation would roll it back.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from agent_stack.domain.errors import NotPermittedError, TransientError
from agent_stack.ports import Clock, Deadline

PROPAGATION_TIMEOUT = timedelta(seconds=40)
"""How long to retry. Usually a permission becomes effective within seconds."""

RETRY_INTERVAL = timedelta(seconds=4)
ANSWER_RESERVE = timedelta(seconds=20)
"""Time kept free for the answer to CloudFormation."""

ReadT = TypeVar("ReadT")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryUntilPermitted:
    """Retries while AWS denies the request or does not answer."""

    clock: Clock
    deadline: Deadline

    def __call__(self, read: Callable[[], ReadT]) -> ReadT:
        """The result of the read.

        Raises:
            AgentStackError: the error of the last try. Other errors than a denial or no answer are raised at once.
        """
        retry_until = self.clock.monotonic() + PROPAGATION_TIMEOUT
        while True:
            try:
                return read()
            except (NotPermittedError, TransientError):
                if self.clock.monotonic() >= retry_until or self.deadline.left() <= ANSWER_RESERVE:
                    raise
                self.clock.sleep(RETRY_INTERVAL)
