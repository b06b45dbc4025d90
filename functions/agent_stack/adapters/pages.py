"""Answers in pages: the one loop that follows their tokens."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

from agent_stack.adapters.aws import AwsCalls
from agent_stack.domain.errors import RetryError

MemberT = TypeVar("MemberT")


def next_page(token: str | None) -> dict[str, Any]:
    """What a request of EC2 says to get that page; nothing for the first."""
    return {"NextToken": token} if token else {}


def members(
    calls: AwsCalls, name: str, read: Callable[[str | None], tuple[Iterable[MemberT], str]]
) -> Iterator[MemberT]:
    """Every member of an answer, page by page.

    Args:
        name: of the request, for errors.
        read: asks for the page that this token names, the first one without; its members and the next page's token,
            nothing at the end.

    Raises:
        RetryError: a page leads back to one that was read, or there is no time for the next.
        RefusedError | TransientError | WaitError: see `AwsCalls.call`.
    """
    token: str | None = None
    followed: set[str] = set()
    while True:
        found, token = calls.call(name, partial(read, token), is_read=True)
        yield from found
        if not token:
            return
        if token in followed:
            raise RetryError(f"{name}: its pages lead back to one that was read already")
        if not calls.deadline.left():
            raise RetryError(f"{name}: no time left for its next page")
        followed.add(token)
