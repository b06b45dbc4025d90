"""A proxy between a client and one service, which spoils what passes through it.

It speaks HTTP/1.1 and passes requests on as they come, `Host` included, because signatures cover it.
"""

import http.client
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from tests.simulator.true_runs.faults import AGENTS, BEFORE, EVERY, Fault, Planned
from tests.simulator.true_runs.spoil import END, Answer, Piece, spoilt

UPSTREAM_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request that came through, in the proxy's own log. `status` is the service's; None when it was not asked."""

    at: datetime
    service: str
    method: str
    path: str
    target: str
    status: int | None
    fault: Fault | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    method: str
    path: str
    headers: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


class Proxies:
    """One proxy for each service; a `Plan.between`."""

    def __init__(self, plan: Callable[[str, int, Sequence[Fault]], Planned | None]) -> None:
        """Stand nowhere yet.

        Args:
            plan: a `FaultPlan`: given the service, the request's number and the kinds that it may meet.
        """
        self._plan = plan
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}
        self._exchanges: list[Exchange] = []
        self._servers: list[socketserver.ThreadingTCPServer] = []

    def open(self, service: str, origin: str) -> str:
        """Stand in front of that service; the origin to ask instead."""
        upstream = origin.removeprefix("http://")

        class Connection(_Connection):
            proxies = self

        Connection.service, Connection.upstream = service, upstream
        server = _Server(("127.0.0.1", 0), Connection)
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    def close(self) -> None:
        """Listen no more."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def exchanges(self) -> tuple[Exchange, ...]:
        """Everything that came through so far."""
        with self._lock:
            return tuple(self._exchanges)

    def decide(self, service: str, request: _Request) -> Planned | None:
        """What that request meets."""
        of_agent = request.header("user-agent").startswith("buildkite-agent/")
        client = f"{service} agents" if of_agent else service
        with self._lock:
            number = self._numbers[client] = self._numbers.get(client, 0) + 1
        return self._plan(client, number, AGENTS if of_agent else EVERY)

    def note(self, exchange: Exchange) -> None:
        with self._lock:
            self._exchanges.append(exchange)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""


class _Connection(socketserver.StreamRequestHandler):
    """One client's connection, and one of its own to the service."""

    proxies: ClassVar[Proxies]
    service: ClassVar[str]
    upstream: ClassVar[str]

    def handle(self) -> None:
        # Small pieces leave at once: a client waits for each.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        upstream = http.client.HTTPConnection(self.upstream, timeout=UPSTREAM_SECONDS)
        try:
            while (request := self._read()) is not None and self._serve(request, upstream):
                pass
        finally:
            upstream.close()

    def _read(self) -> _Request | None:
        line = self.rfile.readline(65536).decode("latin-1").split()
        if len(line) != 3:
            return None
        headers = []
        while (text := self.rfile.readline(65536).decode("latin-1")) not in {"", "\r\n"}:
            name, _, value = text.partition(":")
            headers.append((name, value.strip()))
        if not text:
            return None  # its sender died
        known = _Request(method=line[0], path=line[1], headers=headers, body=b"")
        if known.header("expect").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = int(known.header("content-length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            return None  # no service acts on the half of a request
        return _Request(method=line[0], path=line[1], headers=headers, body=body)

    def _serve(self, request: _Request, upstream: http.client.HTTPConnection) -> bool:
        """Whether the connection goes on."""
        planned = self.proxies.decide(self.service, request)
        fault = planned.fault if planned is not None else None
        answer = None if fault in BEFORE else _asked(request, upstream)
        self.proxies.note(
            Exchange(
                at=datetime.now(UTC),
                service=self.service,
                method=request.method,
                path=request.path,
                target=request.header("x-amz-target").rpartition(".")[2],
                status=answer.status if answer is not None else None,
                fault=fault,
            )
        )
        if planned is None:
            pieces: Iterable[Piece] = [Piece(answer.whole()) if answer is not None else END]
        else:
            pieces = spoilt(planned, answer)
        return self._write(pieces)

    def _write(self, pieces: Iterable[Piece]) -> bool:
        for piece in pieces:
            self.wfile.write(piece.content)
            time.sleep(piece.pause_seconds)
            if piece.resets:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if piece.ends:
                return False
        return True


_OF_THE_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "expect"})


def _asked(request: _Request, upstream: http.client.HTTPConnection) -> Answer | None:
    """The service's answer; None when it gave none."""
    with suppress(OSError, http.client.HTTPException):
        upstream.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers:
            if name.lower() not in _OF_THE_CONNECTION:
                upstream.putheader(name, value)
        if request.body or request.method in {"POST", "PUT"}:
            upstream.putheader("Content-Length", str(len(request.body)))
        upstream.endheaders(request.body or None)
        answer = upstream.getresponse()
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _OF_THE_CONNECTION]
        return Answer(status=answer.status, headers=kept, body=answer.read())
    upstream.close()
    return None
