"""One call to Buildkite waits two seconds at most, whatever it waits for: a cycle waits for it."""

from contextlib import suppress
from datetime import timedelta

import httpx
import pytest

from agent_stack.adapters.stacks_api.caller import MAX_PAUSES, Caller, Request
from agent_stack.adapters.stacks_api.limits import STATES
from agent_stack.domain.errors import AgentStackError, RetryError
from tests.simulator.clock import FixedDeadline, VirtualClock
from tests.simulator.telemetry import RecordedTelemetry

HEADERS = {"RateLimit-Limit": "20", "RateLimit-Remaining": "0"}


class Chance:
    """Jitter as a test wants it."""

    def __init__(self, fraction: float) -> None:
        self._fraction = fraction

    def fraction(self) -> float:
        return self._fraction


class Token:
    def agent_token(self, *, fresh: bool = False) -> str:
        return f"secret {fresh}"


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("reset", ["0.5", "1", "1.9"])
@pytest.mark.parametrize("status", [500, 429])
def test_rate_limits_and_pauses_share_one_patience(status: int, reset: str, jitter: float) -> None:
    clock = VirtualClock()
    asked: list[timedelta] = []

    def answer(_: httpx.Request) -> httpx.Response:
        asked.append(clock.monotonic())
        return httpx.Response(status, headers={**HEADERS, "RateLimit-Reset": reset})

    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        caller = Caller(
            base_url="https://buildkite.test",
            http=http,
            secrets=Token(),
            clock=clock,
            ids=Chance(jitter),  # type: ignore[arg-type]  # what it draws
            deadline=FixedDeadline(),
            telemetry=RecordedTelemetry(),
        )
        with suppress(AgentStackError):
            caller.tell(Request(operation=STATES, stack="ci", method="POST", path="/states"))
    assert clock.monotonic() <= MAX_PAUSES
    assert len(asked) > 1


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".test", ".", "xn--", "xn--a-ecp.test", "a:port", "256.0.0.1", ""])
def test_a_host_that_no_resolver_takes_was_not_asked(host: str) -> None:
    with httpx.Client() as http:
        caller = Caller(
            base_url=f"http://{host}",
            http=http,
            secrets=Token(),
            clock=VirtualClock(),
            ids=Chance(0),  # type: ignore[arg-type]  # what it draws
            deadline=FixedDeadline(),
            telemetry=RecordedTelemetry(),
        )
        with pytest.raises(RetryError, match="cannot reach"):
            caller.tell(Request(operation=STATES, stack="ci", method="POST", path="/states"))
