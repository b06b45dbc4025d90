"""The ways to a fake EC2 for a real boto3 client: over real HTTP, or with no sockets at all."""

import io
import re
from collections.abc import Callable, Iterator
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectionClosedError
from werkzeug import Request, Response

from tests.simulator.cloud.authorisation import Caller
from tests.simulator.cloud.ec2 import Ec2
from tests.simulator.cloud.errors import Ec2Error
from tests.simulator.cloud.protocol import parse_request, serialise_answer, serialise_error
from tests.simulator.loopback import AnswerLost, LoopbackServer

Callers = Callable[[str], Caller | None]
"""Who has that access key id; None for nobody."""

_ACCESS_KEY = re.compile(r"Credential=([^/]+)/")


def _served(ec2: Ec2, body: str, authorization: str, callers: Callers | None) -> tuple[int, bytes]:
    try:
        action, parameters = parse_request(body)
        caller = None if callers is None else _caller(authorization, callers)
        return 200, serialise_answer(action, ec2.request(action, parameters, caller))
    except Ec2Error as error:
        return error.status, serialise_error(error)


def _caller(authorization: str, callers: Callers) -> Caller:
    """Who sends a request, by the access key id. The signature is not looked at."""
    named = _ACCESS_KEY.search(authorization)
    caller = callers(named[1]) if named else None
    if caller is None:
        message = "AWS was not able to validate the provided access credentials"
        raise Ec2Error("AuthFailure", message, status=401)
    return caller


class Ec2Server(LoopbackServer):
    """Serves an `Ec2`; its `origin` is where AWS_ENDPOINT_URL_EC2 points to."""

    def __init__(self, ec2: Ec2, *, callers: Callers | None = None) -> None:
        """Serve.

        Args:
            callers: who has which keys, and so which policies; None: everybody may do everything.
        """
        self._ec2 = ec2
        self._callers = callers
        super().__init__(self._answer, advance=ec2.advance)

    def _answer(self, request: Request) -> Response:
        authorization = request.headers.get("Authorization", "")
        status, content = _served(self._ec2, request.get_data(as_text=True), authorization, self._callers)
        return Response(content, status=status, content_type="text/xml;charset=UTF-8")


def attach(client: Any, ec2: Ec2, *, callers: Callers | None = None) -> None:  # noqa: ANN401  (any boto3 client)
    """Carry the requests of an EC2 client to `ec2`, signed and serialised as ever, without sockets."""

    def carry(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        body = request.body
        text = body.decode() if isinstance(body, bytes) else str(body)
        try:
            status, content = _served(ec2, text, _text(request.headers.get("Authorization", "")), callers)
        except AnswerLost:
            raise ConnectionClosedError(endpoint_url=request.url) from None
        return AWSResponse(request.url, status, HTTPHeaders(), _RawBody(content))

    client.meta.events.register_first("before-send.ec2", carry)


def _text(header: str | bytes) -> str:
    return header.decode() if isinstance(header, bytes) else header


class _RawBody(io.BytesIO):
    """An answer's body as urllib3 would stream it."""

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()
