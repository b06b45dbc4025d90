"""The ways to a fake EC2 for a real boto3 client: over real HTTP, or with no sockets at all."""

import io
from collections.abc import Iterator
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectionClosedError
from werkzeug import Request, Response

from tests.simulator.cloud.ec2 import Ec2
from tests.simulator.cloud.errors import Ec2Error
from tests.simulator.cloud.protocol import parse_request, serialise_answer, serialise_error
from tests.simulator.loopback import AnswerLost, LoopbackServer


def _served(ec2: Ec2, body: str) -> tuple[int, bytes]:
    try:
        action, parameters = parse_request(body)
        return 200, serialise_answer(action, ec2.request(action, parameters))
    except Ec2Error as error:
        return error.status, serialise_error(error)


class Ec2Server(LoopbackServer):
    """Serves an `Ec2`; its `origin` is where AWS_ENDPOINT_URL_EC2 points to."""

    def __init__(self, ec2: Ec2) -> None:
        self._ec2 = ec2
        super().__init__(self._answer, advance=ec2.advance)

    def _answer(self, request: Request) -> Response:
        status, content = _served(self._ec2, request.get_data(as_text=True))
        return Response(content, status=status, content_type="text/xml;charset=UTF-8")


def attach(client: Any, ec2: Ec2) -> None:  # noqa: ANN401  (any boto3 client)
    """Carry the requests of an EC2 client to `ec2`, signed and serialised as ever, without sockets."""

    def carry(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        body = request.body
        text = body.decode() if isinstance(body, bytes) else str(body)
        try:
            status, content = _served(ec2, text)
        except AnswerLost:
            raise ConnectionClosedError(endpoint_url=request.url) from None
        return AWSResponse(request.url, status, HTTPHeaders(), _RawBody(content))

    client.meta.events.register_first("before-send.ec2", carry)


class _RawBody(io.BytesIO):
    """An answer's body as urllib3 would stream it."""

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()
