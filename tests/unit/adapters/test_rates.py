"""The client's own limiter leaves room for a second invocation of the same function."""

from datetime import UTC, datetime, timedelta

import pytest

from agent_stack.adapters.stacks_api.limits import LIST, RESERVE, Operation
from agent_stack.adapters.stacks_api.rates import MAX_BLOCKED, Rates, retry_after

NOW = datetime(2026, 11, 27, 3, 0, tzinfo=UTC)


def sent_at_once(operation: Operation) -> int:
    """How many requests may go out in one moment, where no answer tells the limit."""
    rates, count = Rates(), 0
    while not rates.delay("stack", operation, timedelta()):
        count += 1
    return count


def test_two_invocations_that_overlap_stay_near_the_published_rate() -> None:
    for operation in (LIST, RESERVE):
        assert operation.per_second / 2 <= sent_at_once(operation) <= 0.8 * operation.per_second


def test_after_a_second_there_is_room_again() -> None:
    rates = Rates()
    while not rates.delay("stack", LIST, timedelta()):
        pass
    assert rates.delay("stack", LIST, timedelta()) == timedelta(seconds=1)
    assert not rates.delay("stack", LIST, timedelta(seconds=1))


def test_a_refusal_shortens_no_block_that_a_header_asked_for() -> None:
    rates = Rates()
    rates.heard("stack", LIST, {"RateLimit-Remaining": "0", "RateLimit-Reset": "30"}, timedelta())
    rates.refused("stack", LIST, timedelta(seconds=1), timedelta(seconds=2))
    assert rates.delay("stack", LIST, timedelta(seconds=10)) == timedelta(seconds=20)


def test_a_header_shortens_no_block_that_a_refusal_asked_for() -> None:
    rates = Rates()
    rates.refused("stack", LIST, timedelta(seconds=30), timedelta())
    rates.heard("stack", LIST, {"RateLimit-Remaining": "0", "RateLimit-Reset": "1"}, timedelta(seconds=2))
    assert rates.delay("stack", LIST, timedelta(seconds=10)) == timedelta(seconds=20)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0", "RateLimit-Reset": "9"}, 0),
        ({"Retry-After": "soon", "RateLimit-Reset": "9"}, 9),
        ({"Retry-After": "-7"}, None),
        ({"Retry-After": "Fri, 27 Nov 2026 03:00:20 GMT"}, 20),
        ({"Retry-After": "Friday, 27-Nov-26 03:00:20 GMT"}, 20),
        ({"Retry-After": "Fri, 27 Nov 2026 04:00:20 +0100"}, 20),
        ({"Retry-After": "Fri, 27 Nov 2026 02:59:00 GMT", "RateLimit-Reset": "9"}, 0),
        ({"Retry-After": "Fri, 27 Nov 2026 05:10:20 GMT", "Date": "Fri, 27 Nov 2026 05:10:00 GMT"}, 20),
        ({"Retry-After": "Fri, 27 Nov 9999 05:10:20 GMT"}, MAX_BLOCKED.total_seconds()),
        ({"Retry-After": "Fri, 31 Feb 2026 05:10:20 GMT"}, None),
    ],
)
def test_how_long_to_wait_may_be_seconds_or_a_time(headers: dict[str, str], seconds: float | None) -> None:
    after = retry_after(headers, NOW)
    assert (None if after is None else after.total_seconds()) == seconds
