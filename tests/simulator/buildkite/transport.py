"""The simulated Buildkite without sockets: an httpx transport, for worlds on a virtual clock."""

from collections.abc import Callable

import httpx
from werkzeug import Request
from werkzeug.test import EnvironBuilder

from tests.simulator.buildkite.buildkite import Buildkite
from tests.simulator.buildkite.faults import FaultKind


def transport(buildkite: Buildkite, *, wait: Callable[[float], None] = lambda _: None) -> httpx.BaseTransport:
    """Carries the requests of an httpx client to `buildkite`.

    Args:
        wait: lets the seconds pass that a late answer takes, or the client's patience with it.
    """

    def carry(request: httpx.Request) -> httpx.Response:
        raw = request.url.raw_path.decode()
        builder = EnvironBuilder(
            path=request.url.path,
            query_string=request.url.query.decode(),
            method=request.method,
            headers=list(request.headers.items()),
            data=request.content,
            environ_overrides={"RAW_URI": raw},
        )
        served = buildkite.serve(Request(builder.get_environ()))
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
