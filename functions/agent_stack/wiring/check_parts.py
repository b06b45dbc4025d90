"""The deployment's own check of its classes and subnets: one that is wrong is named, and does not stop the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from agent_stack.adapters.ec2.subnets import Subnets
from agent_stack.domain.classes import ClassBook
from agent_stack.domain.errors import AgentStackError, ConfigurationError, NotPermittedError, TransientError
from agent_stack.domain.policy import Policy
from agent_stack.domain.timeout_check import validate_standby, validate_timeouts
from agent_stack.ports import ClassSource, Telemetry
from agent_stack.removal.retry_until_permitted import RetryUntilPermitted

ReadT = TypeVar("ReadT")
NOT_YET = (NotPermittedError, TransientError)
"""A new role is not known everywhere for some seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckParts:
    """Looks at each class and each subnet alone."""

    classes: ClassSource
    subnets: Subnets
    policy: Policy
    telemetry: Telemetry

    def __call__(self, retry: RetryUntilPermitted) -> Sequence[str]:
        """What is wrong with single ones.

        Raises:
            AgentStackError: the document cannot be read, or nothing is left to use.
        """
        wrong: list[AgentStackError] = []
        book = _settled(retry, self._known, self.classes.book)
        wrong += book.broken.values()
        usable = 0
        for name, vm_class in book.classes.items():
            misfits = list(validate_timeouts(self.policy, replace(book, classes={name: vm_class})))
            usable += not misfits
            wrong += misfits
        if not usable:
            raise wrong[0]
        wrong += validate_standby(book)
        wrong += [_gone(subnet) for subnet in _settled(retry, self.subnets.missing, self.subnets.missing)]
        for error in wrong:
            self.telemetry.error("deployment_problem", error=str(error))
        return [str(error) for error in wrong]

    def _known(self) -> ClassBook:
        """The classes, once EC2 and IAM have said what each of them needs."""
        book = self.classes.book()
        for error in book.broken.values():
            if isinstance(error, NOT_YET):
                raise error
        return book


def _settled(retry: RetryUntilPermitted, read: Callable[[], ReadT], at_last: Callable[[], ReadT]) -> ReadT:
    try:
        return retry(read)
    except NOT_YET:
        return at_last()


def _gone(subnet: str) -> ConfigurationError:
    return ConfigurationError(
        setting="Subnets",
        value=subnet,
        problem="EC2 finds no such subnet; the other subnets are used",
        remedy="Name one that exists, and deploy again.",
    )
