"""Answers in pages: all of them are read, and an answer that leads nowhere ends the request and nothing else."""

import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import count, cycle, islice
from pathlib import Path

import pytest

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.pages import members
from agent_stack.domain.errors import RetryError
from tests.simulator.clock import VirtualClock
from tests.simulator.identity import SeededIds

ADAPTERS = Path(__file__).resolve().parents[3] / "functions" / "agent_stack" / "adapters"


class Invocation:
    """Ends after a minute."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.asked: list[str | None] = []

    def left(self) -> timedelta:
        return max(timedelta(), timedelta(minutes=1) - self.clock.monotonic())

    def read(self, tokens: Iterator[str]) -> Iterator[int]:
        """Every member, where the next pages have these tokens and each page takes a second."""
        calls = AwsCalls(
            clock=self.clock, ids=SeededIds(0), deadline=self, throttles=frozenset(), server_errors=frozenset()
        )

        def page(token: str | None) -> tuple[list[int], str]:
            self.clock.sleep(timedelta(seconds=1))
            self.asked.append(token)
            return [len(self.asked)] * 2, next(tokens)

        return members(calls, "DescribeThings", page)


def test_every_page_is_read_in_order_and_each_with_the_token_of_the_one_before() -> None:
    invocation = Invocation()
    assert list(invocation.read(iter(["b", "c", ""]))) == [1, 1, 2, 2, 3, 3]
    assert invocation.asked == [None, "b", "c"]


def test_no_page_is_asked_for_before_it_is_needed() -> None:
    invocation = Invocation()
    assert list(islice(invocation.read(iter(["b", "c", ""])), 2)) == [1, 1]
    assert invocation.asked == [None]


@pytest.mark.parametrize("tokens", ["a", "ab", "abc"])
def test_pages_that_lead_back_to_one_that_was_read_end_the_request(tokens: str) -> None:
    invocation = Invocation()
    with pytest.raises(RetryError, match="DescribeThings: its pages lead back"):
        list(invocation.read(cycle(tokens)))
    assert invocation.asked == [None, *tokens], "each was followed once"


def test_pages_without_an_end_end_with_the_time_of_the_invocation() -> None:
    invocation = Invocation()
    with pytest.raises(RetryError, match="DescribeThings: no time left for its next page"):
        list(invocation.read(f"token {number}" for number in count()))
    assert len(invocation.asked) == 60


def test_no_adapter_follows_tokens_by_itself() -> None:
    """A loop of its own would follow them for ever."""
    own = {
        str(file.relative_to(ADAPTERS))
        for file in ADAPTERS.rglob("*.py")
        if re.search(r'"NextToken": |asked\["(NextToken|ExclusiveStartKey)"\] =', file.read_text())
    }
    assert own == {"pages.py"}
