"""The proxy of true runs spoils what it is told to spoil and lets pass what it is not, and a seed is a plan."""

import gzip
import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from werkzeug import Request, Response

from tests.simulator.loopback import LoopbackServer
from tests.simulator.true_runs.faults import AGENTS, BEFORE, EVERY, SLOW, Fault, FaultPlan, Planned
from tests.simulator.true_runs.kills import kills
from tests.simulator.true_runs.proxy import Exchange, Proxies

BODY = b'{"answer": "as it should be, and long enough to be cut in two"}'
SECONDS = 0.2


class Service:
    """A service, and the way to it through a proxy."""

    def __init__(self, stack: ExitStack, fault: Fault | None) -> None:
        self.served: list[tuple[str, str, bytes]] = []
        server = stack.enter_context(LoopbackServer(self._answer, advance=lambda: None))
        planned = None if fault is None else Planned(fault=fault, amount=SECONDS / 3)
        self._proxies = Proxies(lambda _service, _number, _kinds: planned)
        stack.callback(self._proxies.close)
        self.address = self._proxies.open("service", server.origin).removeprefix("http://")

    def _answer(self, request: Request) -> Response:
        self.served.append((request.method, request.headers["Host"], request.get_data()))
        return Response(BODY, headers={"X-Kept": "yes"})

    def ask(self) -> tuple[int, str, bytes]:
        with closing(http.client.HTTPConnection(self.address, timeout=10)) as connection:
            connection.request("POST", "/path?query", b"asked", headers={"Host": "signed.example"})
            answer = connection.getresponse()
            return answer.status, answer.headers.get("X-Kept", ""), answer.read()

    def log(self) -> tuple[Exchange, ...]:
        return self._proxies.exchanges()


Open = Callable[[Fault | None], Service]


@pytest.fixture
def behind() -> Iterator[Open]:
    with ExitStack() as stack:
        yield lambda fault: Service(stack, fault)


@pytest.mark.parametrize("fault", [None, *sorted(SLOW)])
def test_what_is_not_spoilt_arrives_as_it_is(behind: Open, fault: Fault | None) -> None:
    service, began = behind(fault), time.monotonic()
    assert service.ask() == (200, "yes", BODY)
    assert service.served == [("POST", "signed.example", b"asked")]
    assert fault is None or time.monotonic() - began >= SECONDS / 2
    assert [(exchange.path, exchange.status, exchange.fault) for exchange in service.log()] == [
        ("/path?query", 200, fault)
    ]


NO_ANSWER = [Fault.NOT_ARRIVED, Fault.RESET, Fault.LOST, Fault.RESET_AFTERWARDS, Fault.CUT]


@pytest.mark.parametrize("fault", NO_ANSWER)
def test_a_connection_ends_without_an_answer(behind: Open, fault: Fault) -> None:
    service = behind(fault)
    with pytest.raises((OSError, http.client.HTTPException)):
        service.ask()
    assert bool(service.served) == (fault not in BEFORE)


@pytest.mark.parametrize(
    ("fault", "status", "read"),
    [
        (Fault.UNAVAILABLE, 503, lambda body: b"<h1>503</h1>" in body),
        (Fault.BAD_GATEWAY, 502, lambda body: b"<h1>502</h1>" in body),
        (Fault.TRUNCATED, 200, lambda body: body == BODY[: len(BODY) // 2]),
        (Fault.COMPRESSED_TWICE, 200, lambda body: gzip.decompress(gzip.decompress(body)) == BODY),
        (Fault.NONSENSE, 200, lambda body: body.startswith(b'{"jobs": 3')),
    ],
)
def test_another_answer_arrives(behind: Open, fault: Fault, status: int, read: Callable[[bytes], bool]) -> None:
    service = behind(fault)
    answered, _, body = service.ask()
    assert answered == status
    assert read(body)
    assert bool(service.served) == (fault not in BEFORE)


def test_half_a_request_reaches_no_service(behind: Open) -> None:
    service = behind(None)
    connection = http.client.HTTPConnection(service.address)
    connection.putrequest("POST", "/path")
    connection.putheader("Content-Length", "10")
    connection.endheaders(b"half")
    connection.close()
    service.ask()
    assert service.served == [("POST", "signed.example", b"asked")]


def test_every_fault_is_played_and_the_same_seed_plays_the_same() -> None:
    def plan(seed: int) -> list[Planned | None]:
        decide = FaultPlan(seed=seed, share={"vm": 0.5})
        return [decide("vm", number, EVERY) for number in range(400)]

    assert plan(1) == plan(1) != plan(2)
    assert {planned.fault for planned in plan(1) if planned is not None} == set(Fault)
    assert 150 < sum(planned is not None for planned in plan(1)) < 250


def test_an_agent_loses_no_answer_because_buildkite_alone_would_be_judged_by_that() -> None:
    assert set(AGENTS) == BEFORE | SLOW


def test_the_same_seed_kills_at_the_same_milliseconds() -> None:
    assert kills(1, 8) == kills(1, 8) != kills(2, 8)
    assert len(kills(1, 8)) == 8
