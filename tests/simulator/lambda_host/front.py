"""APIs on loopback before moto's: an invocation reaches the function's host, and a message that moto took is told."""

import json
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import httpx
from werkzeug import Request, Response

from tests.simulator.lambda_host.host import LambdaHost
from tests.simulator.loopback import LoopbackServer

_INVOKE = re.compile(r"^/2015-03-31/functions/(?P<name>[^/]+)/invocations$")


def lambda_api(*, backend: str, host_of: Callable[[str], LambdaHost | None]) -> LoopbackServer:
    """A server of Lambda's API.

    Args:
        backend: moto's URL.
        host_of: the host of the function with that name; None for one that is not served.
    """

    def serve(request: Request) -> Response:
        invoked = _INVOKE.match(request.path)
        host = host_of(unquote(invoked["name"])) if invoked else None
        if host is not None:
            return _answered(host, json.loads(request.get_data() or b"{}"))
        return _from_moto(backend, request)

    return LoopbackServer(serve, advance=lambda: None)


def wakes_api(*, backend: str, sent: Callable[[str, str], None]) -> LoopbackServer:
    """A server of SQS's API.

    Args:
        backend: moto's URL.
        sent: called with the queue's URL and the body of each message that moto took.
    """

    def serve(request: Request) -> Response:
        answer = _from_moto(backend, request)
        if request.headers.get("X-Amz-Target") == "AmazonSQS.SendMessage" and answer.status_code == HTTPStatus.OK:
            message = json.loads(request.get_data())
            sent(message["QueueUrl"], message["MessageBody"])
        return answer

    return LoopbackServer(serve, advance=lambda: None)


def _from_moto(backend: str, request: Request) -> Response:
    answer = httpx.request(
        request.method,
        backend + request.full_path.removesuffix("?"),
        content=request.get_data(),
        headers={name: value for name, value in request.headers if name.lower() != "host"},
        timeout=30,
    )
    kept = {
        name: value for name, value in answer.headers.items() if name.lower() in {"content-type", "x-amzn-errortype"}
    }
    return Response(answer.content, status=answer.status_code, headers=kept)


def _answered(host: LambdaHost, event: Mapping[str, Any]) -> Response:
    completed = host.invoke(event)
    if completed.error is None:
        return Response(json.dumps(completed.result), status=200, content_type="application/json")
    kind, _, message = completed.error.partition(": ")
    body = json.dumps({"errorType": kind, "errorMessage": message})
    return Response(body, status=200, headers={"X-Amz-Function-Error": "Unhandled"}, content_type="application/json")
