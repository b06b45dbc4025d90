"""The simulated Buildkite without sockets, for worlds on a virtual clock: an httpx transport, and an agent's hand."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import httpx
from werkzeug import Request

from tests.simulator.buildkite.buildkite import Buildkite
from tests.simulator.buildkite.faults import FaultKind


def transport(buildkite: Buildkite, *, wait: Callable[[float], None] = lambda _: None) -> httpx.BaseTransport:
    """Carries the requests of an httpx client to `buildkite`.

    Args:
        wait: lets the seconds pass that a late answer takes, or the client's patience with it.
    """

    def carry(request: httpx.Request) -> httpx.Response:
        served = buildkite.serve(Request(_environ(request)))
        if served.lost:
            if buildkite.access_log()[-1].fault == FaultKind.NOT_ARRIVED:
                raise httpx.ConnectError("connection refused", request=request)
            raise httpx.ReadError("connection reset", request=request)
        patience = request.extensions.get("timeout", {}).get("read")
        if served.late_seconds:
            wait(served.late_seconds if patience is None else min(served.late_seconds, patience))
        if patience is not None and served.late_seconds > patience:
            raise httpx.ReadTimeout("no answer in time", request=request)
        return httpx.Response(served.status, headers=dict(served.headers), content=served.body, request=request)

    return httpx.MockTransport(carry)


PATIENCE_SECONDS = 5.0
"""Of an agent with one answer; httpx's default."""

Ask = Callable[[str, str, str, dict[str, Any] | None], Any]
"""Method, path, token and body of a request; what the answer holds, or None for a refusal or none."""


def asker(buildkite: Buildkite, *, wait: Callable[[float], None] = lambda _: None) -> Ask:
    """Asks as an agent does. Without httpx, because agents send most requests of a world and need none of its care.

    Args:
        wait: lets the seconds pass that a late answer takes, or the agent's patience with it.
    """

    def ask(method: str, path: str, token: str, body: dict[str, Any] | None = None) -> Any:  # noqa: ANN401  (JSON)
        content = b"" if body is None else json.dumps(body).encode()
        served = buildkite.serve(
            Request(
                {
                    "HTTP_AUTHORIZATION": f"Token {token}",
                    "REQUEST_METHOD": method,
                    "SCRIPT_NAME": "",
                    "PATH_INFO": f"/v3{path}",
                    "QUERY_STRING": "",
                    "RAW_URI": f"/v3{path}",
                    "SERVER_NAME": "buildkite.invalid",
                    "SERVER_PORT": "80",
                    "SERVER_PROTOCOL": "HTTP/1.1",
                    "CONTENT_TYPE": "" if body is None else "application/json",
                    "CONTENT_LENGTH": str(len(content)),
                    "wsgi.url_scheme": "http",
                    "wsgi.input": BytesIO(content),
                }
            )
        )
        if served.lost:
            return None
        if served.late_seconds:
            wait(min(served.late_seconds, PATIENCE_SECONDS))
        if served.late_seconds > PATIENCE_SECONDS or not 200 <= served.status < 300:
            return None
        try:
            return json.loads(served.body)
        except ValueError:
            return None

    return ask


def _environ(request: httpx.Request) -> dict[str, Any]:
    """What a server would make of it. By hand, because werkzeug's builder took a tenth of a simulated world's time."""
    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()}
    return {
        **headers,
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.url.path.encode().decode("latin-1"),
        "QUERY_STRING": request.url.query.decode(),
        "RAW_URI": request.url.raw_path.decode(),
        "SERVER_NAME": request.url.host,
        "SERVER_PORT": str(request.url.port or 443),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": headers.pop("HTTP_CONTENT_TYPE", ""),
        "CONTENT_LENGTH": str(len(request.content)),
        "wsgi.url_scheme": request.url.scheme,
        "wsgi.input": BytesIO(request.content),
    }
