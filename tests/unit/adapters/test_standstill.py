"""A process that stood still in a pause sends nothing afterwards: others may have decided meanwhile."""

from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.stacks_api.caller import Caller, Request
from agent_stack.adapters.stacks_api.limits import FINISH
from agent_stack.adapters.standstill import LATE, paused
from agent_stack.domain.errors import RetryError, UnknownOutcomeError
from tests.simulator.clock import FixedDeadline, VirtualClock
from tests.simulator.identity import SeededIds
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.adapters.test_caller import Token

SECOND = timedelta(seconds=1)


class Frozen(VirtualClock):
    """Each pause takes so much longer, as of a thread that Lambda freezes with its process."""

    def __init__(self, longer: timedelta) -> None:
        super().__init__()
        self._longer = longer

    def sleep(self, duration: timedelta) -> None:
        super().sleep(duration + self._longer)


@pytest.mark.parametrize(("longer", "goes_on"), [(timedelta(), True), (LATE, True), (LATE + SECOND, False)])
def test_a_pause_says_whether_the_process_stood_still(longer: timedelta, *, goes_on: bool) -> None:
    assert paused(Frozen(longer), SECOND) is goes_on


def tell(clock: VirtualClock, answer: Callable[[httpx.Request], httpx.Response]) -> None:
    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        caller = Caller(
            base_url="https://buildkite.test",
            http=http,
            secrets=Token(),
            clock=clock,
            ids=SeededIds(0),
            deadline=FixedDeadline(),
            telemetry=RecordedTelemetry(),
        )
        caller.tell(Request(operation=FINISH, stack="ci", method="PUT", path="/finish"))
        caller.tell(Request(operation=FINISH, stack="ci", method="PUT", path="/finish"))


@pytest.mark.parametrize(("longer", "tries"), [(timedelta(), 4), (timedelta(minutes=1), 1)])
def test_a_request_to_buildkite_is_not_sent_again(longer: timedelta, tries: int) -> None:
    """World 70109: a job was finished once more, forty seconds after another tracker had finished it."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        raise httpx.ConnectError("refused")

    with pytest.raises(RetryError, match="cannot reach"):
        tell(Frozen(longer), answer)
    assert len(asked) == tries


def test_nor_one_that_waited_for_its_place_under_the_rate() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        rate = {"RateLimit-Limit": "20", "RateLimit-Remaining": "0", "RateLimit-Reset": "1"}
        return httpx.Response(200, headers=rate)

    with pytest.raises(RetryError, match="stood still"):
        tell(Frozen(timedelta(minutes=1)), answer)
    assert len(asked) == 1


@pytest.mark.parametrize(("longer", "tries"), [(timedelta(), 4), (timedelta(minutes=1), 1)])
def test_a_request_to_aws_is_not_sent_again_and_its_doubt_stays(longer: timedelta, tries: int) -> None:
    clock = Frozen(longer)
    calls = AwsCalls(
        clock=clock, ids=SeededIds(0), deadline=FixedDeadline(), throttles=frozenset(), server_errors=frozenset()
    )
    asked: list[timedelta] = []

    def send() -> None:
        asked.append(clock.monotonic())
        raise ValueError("no answer that can be read")

    with pytest.raises(UnknownOutcomeError):
        calls.call("CreateFleet", send)
    assert len(asked) == tries
