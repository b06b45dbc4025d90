"""Total bounds of one HTTP exchange, for both clients: how long an answer may take, and how large it may be.

The time-outs of HTTP clients count from one byte to the next, so a server that drips a byte a second, or sends
`100 Continue` for ever, holds a request for as long as it likes. Here every read of a socket gets what is left of one
total. Botocore and httpx have no public place for this. Each gets it in one function of this module, and real sockets
prove it in the contract suite.
"""

import io
import math
import threading
import time
from http.client import HTTPResponse
from socket import socket
from typing import TYPE_CHECKING, Any, TypeVar

import httpcore
import httpx
from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ssl import SSLContext

    from _typeshed import WriteableBuffer

ClientT = TypeVar("ClientT")

AWS_ANSWER_SECONDS = 12.0
"""A CreateFleet for hundreds of VMs takes seconds. Shorter than the time that a lease loop keeps in reserve."""

MAX_AWS_ANSWER_BYTES = 32 * 1024 * 1024
"""A page of DescribeInstances with 1,000 instances has about 5 MB; DynamoDB's largest answer has 16 MB."""


def bounded_aws(
    client: ClientT, *, seconds: float = AWS_ANSWER_SECONDS, most_bytes: int = MAX_AWS_ANSWER_BYTES
) -> ClientT:
    """The botocore client, whose answers take no longer and are no larger, headers included."""

    class Answer(HTTPResponse):
        def __init__(self, sock: socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  (http.client's own)
            super().__init__(sock, *args, **kwargs)
            self.fp = io.BufferedReader(_BoundedReader(self.fp.detach(), sock, seconds, most_bytes))

    class Connection(AWSHTTPConnection):
        response_class: Any = Answer

    class SecureConnection(AWSHTTPSConnection):
        response_class: Any = Answer

    class Pool(AWSHTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(AWSHTTPSConnectionPool):
        ConnectionCls = SecureConnection

    session: Any = client._endpoint.http_session  # type: ignore[attr-defined]
    session._pool_classes_by_scheme.update(http=Pool, https=SecurePool)
    return client


class _BoundedReader(io.RawIOBase):
    """What one answer's bytes are read through."""

    def __init__(self, raw: io.RawIOBase, sock: socket, seconds: float, most_bytes: int) -> None:
        self._raw = raw
        self._sock = sock
        self._until = time.monotonic() + seconds
        self._room = most_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long in total")
        self._sock.settimeout(left)
        count = self._raw.readinto(buffer)
        self._room -= count or 0
        if self._room < 0:
            raise OSError("the answer is too large")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


TOTAL_SECONDS = "total_seconds"
"""The request extension that says how long an exchange of httpx may take in total."""

HTTPX_SECONDS = 15.0


def bounded_httpx(client: httpx.Client) -> httpx.Client:
    """The httpx client, whose exchanges take no longer than `TOTAL_SECONDS` of each request says, headers included.

    It asks for gzip only: whoever reads a body can bound what one layer of it becomes.
    """
    total = _TotalTime()
    for transport in (client._transport, *client._mounts.values()):
        pool: Any = getattr(transport, "_pool", None)
        if pool is not None:
            pool._network_backend = _BoundedBackend(pool._network_backend, total)
    hooks = client.event_hooks
    client.event_hooks = {**hooks, "request": [*hooks["request"], total.begin]}
    client.headers["Accept-Encoding"] = "gzip"
    return client


class _TotalTime(threading.local):
    """Until when the exchange of this thread may take."""

    until = math.inf

    def begin(self, request: httpx.Request) -> None:
        """An exchange begins now."""
        self.until = time.monotonic() + request.extensions.get(TOTAL_SECONDS, HTTPX_SECONDS)

    def left(self, timeout: float | None) -> float | None:
        """That time-out, or what is left of the total where that is less."""
        left = max(0.0, self.until - time.monotonic())
        if timeout is None:
            return None if left == math.inf else left
        return min(timeout, left)


class _BoundedBackend(httpcore.NetworkBackend):
    """Opens connections as the backend that it wraps, and bounds what is read from them and written to them."""

    def __init__(self, inner: httpcore.NetworkBackend, total: _TotalTime) -> None:
        self._inner = inner
        self._total = total

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: "Iterable[Any] | None" = None,
    ) -> httpcore.NetworkStream:
        stream = self._inner.connect_tcp(host, port, self._total.left(timeout), local_address, socket_options)
        return _BoundedStream(stream, self._total)


class _BoundedStream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, total: _TotalTime) -> None:
        self._inner = inner
        self._total = total

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = self._total.left(timeout)
        if left is not None and left <= 0:
            raise httpcore.ReadTimeout("the answer took too long in total")
        return self._inner.read(max_bytes, left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left = self._total.left(timeout)
        if left is not None and left <= 0:
            raise httpcore.WriteTimeout("the request took too long in total")
        self._inner.write(buffer, left)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: "SSLContext", server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._inner.start_tls(ssl_context, server_hostname, self._total.left(timeout))
        return _BoundedStream(stream, self._total)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401  (whatever the stream tells)
        return self._inner.get_extra_info(info)
