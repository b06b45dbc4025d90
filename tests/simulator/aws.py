"""The AWS services that nothing of ours depends on in detail, by moto, over HTTP."""

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import httpx
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.server import ThreadedMotoServer
from werkzeug.serving import make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

Application = Callable[[dict[str, Any], "StartResponse"], Iterable[bytes]]


class AwsServer:
    """An empty account on loopback. One at a time: moto keeps its state for the whole process."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = _Server(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        httpx.post(f"{self.url}/moto-api/reset", timeout=10).raise_for_status()

    def close(self) -> None:
        """Stop to listen."""
        self._server.stop()


class Isolated:
    """A WSGI application that is asked for one thing of DynamoDB at a time.

    Moto takes a transaction that fails back by restoring copies of the tables, and so undoes what others wrote
    meanwhile. DynamoDB isolates transactions.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        """Serve one request."""
        of_dynamodb = environ.get("HTTP_X_AMZ_TARGET", "").startswith("DynamoDB_")
        with self._lock if of_dynamodb else nullcontext():
            return self._application(environ, start_response)


class _Server(ThreadedMotoServer):
    def _server_entry(self) -> None:
        self._server = make_server(
            self._ip_address,
            self._port,
            Isolated(DomainDispatcherApplication(create_backend_app)),
            threaded=True,
            request_handler=MotoRequestHandler,
        )
        self._server_ready_event.set()
        self._server.serve_forever(poll_interval=0.05)
