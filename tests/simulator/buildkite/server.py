"""The simulated Buildkite on loopback, over real HTTP."""

import threading
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.simulator.buildkite.buildkite import Buildkite
from tests.simulator.buildkite.operations import BASE_PATH

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse


class _AnswerLost(ConnectionError):
    """Ends the connection without an answer."""


class BuildkiteServer:
    """Serves a `Buildkite` on a port of its own, and lets its time pass."""

    def __init__(self, buildkite: Buildkite, *, tick_seconds: float = 0.05) -> None:
        """Start to listen; `url` is where a stack's BuildkiteEndpoint points to."""
        self._buildkite = buildkite
        self._tick_seconds = tick_seconds
        self._server = make_server("127.0.0.1", 0, self._application, threaded=True, request_handler=_Connection)
        self._server.daemon_threads = True  # type: ignore[attr-defined]  # of the threading mix-in
        self._closing = threading.Event()
        self._threads = (
            threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True),
            threading.Thread(target=self._pass_time, daemon=True),
        )
        for thread in self._threads:
            thread.start()

    @property
    def url(self) -> str:
        """The base URL of both APIs."""
        return f"http://127.0.0.1:{self._server.server_port}{BASE_PATH}"

    def close(self) -> None:
        """Stop to listen."""
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
            self._buildkite.advance()

    def _application(self, environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        served = self._buildkite.serve(Request(environ))
        if served.lost:
            raise _AnswerLost
        response = Response(served.body, status=served.status, headers=dict(served.headers))
        return response(environ, start_response)


class _Connection(WSGIRequestHandler):
    """Keeps connections open, and the console clean: the access log is the model's."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002  # the name is werkzeug's
        pass
