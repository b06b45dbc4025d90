"""Time and memory of one exchange are bounded in total, for AWS and for Buildkite: real sockets on loopback."""

import gzip
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, HTTPClientError

from agent_stack.adapters.bounded_http import bounded_aws, bounded_httpx
from agent_stack.adapters.stacks_api import caller
from agent_stack.adapters.stacks_api.bodies import UnreadableBodyError, body_parts
from agent_stack.domain.errors import UnknownOutcomeError
from agent_stack.wiring.deployment import Deployment
from tests.contract.stacks import QUEUE, a_desk
from tests.unit.values import an_environment

SECONDS = 0.5
PATIENCE = 3.0
"""A test that takes longer than this has no bound."""

MIB = 1024 * 1024
Serve = Callable[[socket.socket], None]


class Server:
    """Answers every connection as a test wants it, byte by byte."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                asked = b""
                while b"\r\n\r\n" not in asked:
                    asked += connection.recv(65536)
                self._serve(connection)
            except OSError:
                pass

    def close(self) -> None:
        self._listening.close()


def slow_headers(to: socket.socket) -> None:
    to.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(1000):
        to.sendall(b"X-%d: y\r\n" % number)
        time.sleep(0.02)


def continues_for_ever(to: socket.socket) -> None:
    """For far too long, at least: a client without a bound fails its test within a minute, and does not hang it."""
    for _ in range(1000):
        to.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.02)


def dripped_body(to: socket.socket) -> None:
    to.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        to.sendall(b" ")
        time.sleep(0.02)


def dripped_chunks(to: socket.socket) -> None:
    to.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(1000):
        to.sendall(b"1\r\n \r\n")
        time.sleep(0.02)


def silence(_: socket.socket) -> None:
    time.sleep(PATIENCE * 2)


def large_body(to: socket.socket) -> None:
    to.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (400 * MIB))
    for _ in range(400):
        to.sendall(b" " * MIB)


def compressed(layers: int) -> Serve:
    """400 MB of nothing, in some kilobytes."""
    packer = zlib.compressobj(1, wbits=31)
    body = b"".join([packer.compress(b" " * MIB) for _ in range(400)] + [packer.flush()])
    for _ in range(layers - 1):
        body = gzip.compress(body, 1)
    encoding = ", ".join(["gzip"] * layers).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding, len(body))
    return lambda to: to.sendall(head + body)


SLOW = [slow_headers, continues_for_ever, dripped_body, dripped_chunks, silence]
LARGE: list[Callable[[], Serve]] = [lambda: large_body, partial(compressed, 1), partial(compressed, 2)]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def serving(stack: ExitStack, serve: Serve) -> str:
    server = Server(serve)
    stack.callback(server.close)
    return server.origin


def ask_aws(origin: str, seconds: float = SECONDS, most: int = MIB) -> None:
    client = boto3.client(
        "dynamodb",
        region_name="eu-central-1",
        endpoint_url=origin,
        aws_access_key_id="AKID",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=60),
    )
    bounded_aws(client, seconds=seconds, most_bytes=most).list_tables()


@pytest.mark.parametrize("serve", SLOW)
def test_no_answer_of_aws_takes_longer_than_its_total(stack: ExitStack, serve: Serve) -> None:
    origin, began = serving(stack, serve), time.monotonic()
    with pytest.raises(BotoCoreError):
        ask_aws(origin)
    assert time.monotonic() - began < PATIENCE


def test_no_answer_of_aws_is_read_beyond_the_limit(stack: ExitStack) -> None:
    origin = serving(stack, large_body)
    tracemalloc.start()
    stack.callback(tracemalloc.stop)
    with pytest.raises(HTTPClientError):
        ask_aws(origin, seconds=60)
    assert tracemalloc.get_traced_memory()[1] < 64 * MIB


def test_a_connection_is_used_again_with_a_total_of_its_own(stack: ExitStack) -> None:
    def twice(to: socket.socket) -> None:
        answer = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"TableNames":[]}'
        to.sendall(answer)
        while to.recv(65536):
            to.sendall(answer)

    client = boto3.client(
        "dynamodb",
        region_name="eu-central-1",
        endpoint_url=serving(stack, twice),
        aws_access_key_id="AKID",
        aws_secret_access_key="secret",
    )
    bounded_aws(client, seconds=SECONDS)
    client.list_tables()
    time.sleep(SECONDS)
    assert client.list_tables()["TableNames"] == []


def ask_buildkite(stack: ExitStack, origin: str) -> None:
    left = timedelta(seconds=SECONDS)
    http = stack.enter_context(bounded_httpx(httpx.Client(trust_env=False)))

    def to_the_server(request: httpx.Request) -> None:
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=int(origin.rsplit(":", 1)[1]))

    http.event_hooks = {**http.event_hooks, "request": [*http.event_hooks["request"], to_the_server]}
    desk = a_desk(stack, http=http, left=left)
    desk.client.finish(QUEUE, "j", exit_status=1, detail="")  # type: ignore[arg-type]  # any id; sent once only


@pytest.mark.parametrize("serve", SLOW)
def test_no_answer_of_buildkite_takes_longer_than_what_is_left(stack: ExitStack, serve: Serve) -> None:
    origin, began = serving(stack, serve), time.monotonic()
    with pytest.raises(UnknownOutcomeError):
        ask_buildkite(stack, origin)
    assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize("made", LARGE, ids=["plain", "compressed", "compressed twice"])
def test_no_answer_of_buildkite_is_read_beyond_the_limit(stack: ExitStack, made: Callable[[], Serve]) -> None:
    origin = serving(stack, made())
    tracemalloc.start()
    stack.callback(tracemalloc.stop)
    with pytest.raises(UnknownOutcomeError):
        ask_buildkite(stack, origin)
    assert tracemalloc.get_traced_memory()[1] < 4 * caller.MAX_ANSWER_BYTES


def test_pieces_that_together_pass_the_limit_are_not_read_on() -> None:
    """However slowly they come: over a socket the time may be over first."""
    taken = 0

    class Pieces(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            nonlocal taken
            for _ in range(100):
                taken += 1
                yield b" " * (MIB // 4)

    with pytest.raises(UnreadableBodyError):
        list(body_parts(httpx.Response(200, stream=Pieces()), MIB))
    assert taken == 5


def test_a_piece_that_grows_a_thousandfold_is_not_grown_beyond_the_limit(stack: ExitStack) -> None:
    bomb = gzip.compress(b" " * (64 * MIB), 9)

    class InOnePiece(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield bomb

    response = httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=InOnePiece())
    tracemalloc.start()
    stack.callback(tracemalloc.stop)
    with pytest.raises(UnreadableBodyError):
        list(body_parts(response, MIB))
    assert tracemalloc.get_traced_memory()[1] < 4 * MIB


def test_a_gzipped_answer_is_read(stack: ExitStack) -> None:
    def serve(to: socket.socket) -> None:
        body = gzip.compress(b"{}")
        to.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    ask_buildkite(stack, serving(stack, serve))


def test_a_gzipped_answer_that_was_cut_is_no_answer(stack: ExitStack) -> None:
    def serve(to: socket.socket) -> None:
        body = gzip.compress(b"{}" * 1000)[:-9]
        to.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    with pytest.raises(UnknownOutcomeError, match="cut"):
        ask_buildkite(stack, serving(stack, serve))


@pytest.mark.parametrize("location", ["https://elsewhere.invalid/", "http://127.0.0.1:1/"])
def test_a_redirect_is_not_followed_because_it_would_carry_the_token_elsewhere(location: str, stack: ExitStack) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(307, headers={"Location": location})

    deployment = Deployment(function="dispatcher", environment=an_environment())
    http = httpx.Client(
        transport=httpx.MockTransport(answer), follow_redirects=deployment.http.follow_redirects, trust_env=False
    )
    desk = a_desk(stack, http=http)
    with pytest.raises(Exception, match="307"):
        desk.client.finish(QUEUE, "j", exit_status=1, detail="")  # type: ignore[arg-type]  # any id
    assert len(asked) == 1


def test_every_client_of_a_deployment_is_bounded() -> None:
    deployment = Deployment(function="dispatcher", environment=an_environment())
    for client in (deployment.dynamodb, deployment.ec2, deployment.ssm):
        endpoint: Any = client._endpoint  # type: ignore[union-attr]  # botocore's own
        classes = endpoint.http_session._pool_classes_by_scheme
        assert {pool.__module__ for pool in classes.values()} == {bounded_aws.__module__}
    pool = deployment.http._transport._pool  # type: ignore[attr-defined]
    assert type(pool._network_backend).__module__ == bounded_httpx.__module__


def test_only_an_encoding_is_asked_for_whose_size_can_be_bounded() -> None:
    """Httpx offers what its installed libraries read, of which one answer may become any size."""
    with bounded_httpx(httpx.Client()) as client:
        assert client.build_request("GET", "https://buildkite.invalid").headers["Accept-Encoding"] == "gzip"
