"""One total time for an exchange: every operation of a connection gets what is left of it, and no more."""

import time
from collections.abc import Callable
from typing import Any

import httpcore
import httpx
import pytest

from agent_stack.adapters.bounded_http import TOTAL_SECONDS, _BoundedBackend, _TotalTime, bounded_httpx

TOTAL = 5.0


class Recorded(httpcore.NetworkBackend, httpcore.NetworkStream):
    """A backend and its stream, which note how long each operation may take."""

    def __init__(self) -> None:
        self.allowed: list[float | None] = []

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *_: object) -> httpcore.NetworkStream:
        self.allowed.append(timeout)
        return self

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.allowed.append(timeout)
        return b""

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.allowed.append(timeout)

    def start_tls(self, context: Any, name: str | None = None, timeout: float | None = None) -> httpcore.NetworkStream:  # noqa: ANN401  (a context, of which nothing is asked)
        self.allowed.append(timeout)
        return self


Operation = Callable[[httpcore.NetworkBackend, float | None], object]
OPERATIONS: dict[str, Operation] = {
    "connect": lambda backend, timeout: backend.connect_tcp("host", 443, timeout),
    "read": lambda backend, timeout: backend.connect_tcp("host", 443).read(1, timeout),
    "write": lambda backend, timeout: backend.connect_tcp("host", 443).write(b"x", timeout),
    "handshake": lambda backend, timeout: backend.connect_tcp("host", 443).start_tls(None, "host", timeout),  # type: ignore[arg-type]  # no context is needed
    "read after the handshake": lambda backend, timeout: (
        backend.connect_tcp("host", 443).start_tls(None, "host").read(1, timeout)  # type: ignore[arg-type]
    ),
}


@pytest.mark.parametrize("timeout", [None, 60.0, 0.5])
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_each_operation_has_its_own_time_out_or_what_is_left(operation: Operation, timeout: float | None) -> None:
    inner, total = Recorded(), _TotalTime()
    total.until = time.monotonic() + TOTAL
    operation(_BoundedBackend(inner, total), timeout)
    allowed = inner.allowed[-1]
    assert allowed is not None
    assert 0 < allowed <= min(TOTAL, timeout or TOTAL)


@pytest.mark.parametrize("name", ["read", "write", "read after the handshake"])
def test_when_nothing_is_left_nothing_begins(name: str) -> None:
    inner, total = Recorded(), _TotalTime()
    total.until = time.monotonic() - 1
    with pytest.raises(httpcore.TimeoutException):
        OPERATIONS[name](_BoundedBackend(inner, total), None)


def test_a_way_through_a_proxy_is_bounded_like_every_other() -> None:
    through = httpx.HTTPTransport(proxy="http://proxy.invalid:8080")
    with bounded_httpx(httpx.Client(mounts={"https://": through})) as client:
        transports: list[Any] = [client._transport, *client._mounts.values()]
        assert len(transports) == 2
        assert {type(one._pool._network_backend) for one in transports} == {_BoundedBackend}


def test_a_request_that_names_no_total_has_one() -> None:
    began: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        began.append(time.monotonic())
        return httpx.Response(200)

    with bounded_httpx(httpx.Client(transport=httpx.MockTransport(answer))) as client:
        begin: Any
        (begin,) = client.event_hooks["request"]
        total: _TotalTime = begin.__self__
        for extensions, most in (({TOTAL_SECONDS: 1.0}, 1.0), ({}, 15.0)):
            client.get("https://buildkite.invalid", extensions=extensions)
            assert total.until <= began[-1] + most
