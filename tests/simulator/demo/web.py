"""Serves the build page to the browsers of this machine: one self-contained page, and its state as it changes."""

import json
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from werkzeug import Request, Response

from tests.simulator.demo.snapshot import Camera
from tests.simulator.loopback import LoopbackServer

PAGE: Final = Path(__file__).with_name("page.html")
LOOK_SECONDS: Final = 0.5
_HERE: Final = frozenset({"127.0.0.1", "localhost"})


def page_html(state: dict[str, Any] | None = None) -> tuple[str, str]:
    """The page and its content security policy; with a state it stands by itself and asks nobody.

    The state is data, never markup: the script writes it as text, and `<` cannot end the element that holds it.
    """
    nonce = secrets.token_urlsafe(16)
    data = json.dumps(state).replace("<", "\\u003c")
    html = PAGE.read_text().replace("NONCE", nonce).replace("STATE", data)
    connect = "'self'" if state is None else "'none'"
    policy = f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src {connect}"
    return html, f"{policy}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class WebPage:
    """The page on a port of the loopback interface, from its making until `close`."""

    def __init__(self, camera: Camera, *, port: int = 0) -> None:
        """Start to serve.

        Raises:
            OSError: the port is taken.
        """
        self._camera = camera
        self._closing = threading.Event()
        self.asked = threading.Event()
        """A browser has the state."""
        self._server = LoopbackServer(self._serve, advance=lambda: None, tick_seconds=1.0, port=port)

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"{self._server.origin}/"

    def wait(self) -> None:
        """Serve on until a person has seen enough.

        Raises:
            KeyboardInterrupt: that is how a person says so.
        """
        try:
            self._closing.wait()
        except KeyboardInterrupt:
            return

    def close(self) -> None:
        """Stop to serve."""
        if not self._closing.is_set():
            self._closing.set()
            self._server.close()

    def _serve(self, request: Request) -> Response:
        if request.host.rpartition(":")[0] not in _HERE:  # another site's name that leads here reads nothing
            return Response("Ask for 127.0.0.1 or localhost.\n", status=421)
        if request.path == "/" and request.method == "GET":
            html, policy = page_html()
            headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
            return Response(html, content_type="text/html; charset=utf-8", headers=headers)
        if request.path == "/events" and request.method == "GET":
            return Response(self._events(), content_type="text/event-stream", headers={"Cache-Control": "no-store"})
        return Response("Not found\n", status=404)

    def _events(self) -> Iterator[str]:
        """Server-sent events: the whole state, whenever it is another one."""
        while not self._closing.is_set():
            yield f"data: {json.dumps(self._camera.state())}\n\n"
            self.asked.set()
            self._closing.wait(LOOK_SECONDS)
