"""A simulated service on loopback: real HTTP on a port of its own, and a thread that lets its time pass."""

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse


class AnswerLost(ConnectionError):
    """Raised by a service whose answer never arrives: the connection ends without one."""


class LoopbackServer:
    """Serves from its making until `close`."""

    def __init__(
        self,
        serve: Callable[[Request], Response],
        *,
        advance: Callable[[], None],
        tick_seconds: float = 0.05,
        port: int = 0,
    ) -> None:
        """Start to listen.

        Args:
            advance: called every `tick_seconds`, so that what falls due happens without a request.
            port: to listen on; any free one unless given.
        """
        self._serve = serve
        self._advance = advance
        self._tick_seconds = tick_seconds
        self._server = make_server("127.0.0.1", port, self._application, threaded=True, request_handler=_Connection)
        self._server.daemon_threads = True  # type: ignore[attr-defined]  # of the threading mix-in
        self._closing = threading.Event()
        self._threads = (
            threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True),
            threading.Thread(target=self._pass_time, daemon=True),
        )
        for thread in self._threads:
            thread.start()

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop to listen, and wait for what is being served."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pass_time(self) -> None:
        while not self._closing.wait(self._tick_seconds):
            self._advance()

    def _application(self, environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        return self._serve(Request(environ))(environ, start_response)


class _Connection(WSGIRequestHandler):
    """Keeps connections open between requests, and the console clean."""

    protocol_version = "HTTP/1.1"

    def connection_dropped(self, error: BaseException, environ: object = None) -> None:
        """An answer was lost: the client must see that at once."""
        self.close_connection = True

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002  # the name is werkzeug's
        pass
