"""Stands in front of simulated AWS services: checks each request's signature and what its signer may do."""

import json
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from werkzeug import Request, Response

from tests.simulator.iam.dynamodb import asked_of_dynamodb
from tests.simulator.iam.policy import Asked, Context, Policies
from tests.simulator.loopback import AnswerLost, LoopbackServer

SKEW = timedelta(minutes=5)
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<date>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request,"
    r"\s*SignedHeaders=(?P<headers>[^,]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A principal with keys.

    Attributes:
        context: condition keys that every request of its carries.
    """

    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    policies: Policies
    context: Context


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal(Exception):
    """Why a request goes no further, as AWS says it."""

    code: str
    message: str
    status: int = 400


class SigningFront(LoopbackServer):
    """Lets a request through to `backend` when its signature is right and its signer's policies allow it."""

    def __init__(
        self,
        *,
        backend: str,
        region: str,
        account_id: str,
        signer: Callable[[str], Signer | None],
        partition_key: str = "instance_arn",
    ) -> None:
        """Serve.

        Args:
            signer: who has that access key id.
            partition_key: of the tables behind it.
        """
        self.skew = timedelta()
        """How far this service's clock is ahead of everybody's."""
        self.down = False
        self.speaks = threading.Event()
        """While it is not set, requests are taken and never answered, and have no effect."""
        self.speaks.set()
        self.refusals: deque[Refusal] = deque()
        """What the next requests are told instead."""
        self.lose_answer: Callable[[Asked], bool] = lambda _: False
        """Whether what is asked takes effect and its answer is lost."""
        self.on_asked: Callable[[Asked, bool, Mapping[str, Any]], None] = lambda _asked, _allowed, _body: None
        """Called before each request is served: what is asked, whether it is allowed, and its body."""
        self._backend = httpx.Client(base_url=backend, timeout=20)
        self._region = region
        self._account_id = account_id
        self._signer = signer
        self._partition_key = partition_key
        super().__init__(self._answer, advance=lambda: None)

    def close(self) -> None:
        """See `LoopbackServer`."""
        self.speaks.set()
        super().close()
        self._backend.close()

    def _answer(self, request: Request) -> Response:
        body = request.get_data()
        if not self.speaks.is_set():
            self.speaks.wait()
            raise AnswerLost("silence")
        try:
            asked = self._check(request, body)
        except Refusal as refusal:
            said = {"__type": f"com.amazon.coral.service#{refusal.code}", "message": refusal.message}
            return self._dated(Response(json.dumps(said), status=refusal.status))
        headers = {name: value for name, value in request.headers if name.lower() not in {"host", "content-length"}}
        answer = self._backend.request(request.method, request.full_path.rstrip("?"), headers=headers, content=body)
        if self.lose_answer(asked):
            raise AnswerLost(asked.action)
        kept = {name: value for name, value in answer.headers.items() if name in {"content-type", "x-amzn-errortype"}}
        return self._dated(Response(answer.content, status=answer.status_code, headers=kept))

    def _dated(self, response: Response) -> Response:
        response.headers["Date"] = (datetime.now(UTC) + self.skew).strftime("%a, %d %b %Y %H:%M:%S GMT")
        return response

    def _check(self, request: Request, body: bytes) -> Asked:
        if self.refusals:
            raise self.refusals.popleft()
        if self.down:
            raise Refusal(code="ServiceUnavailable", message="down", status=503)
        stated = _AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
        signer = self._signer(stated["key"]) if stated else None
        if stated is None or signer is None:
            raise Refusal(code="UnrecognizedClientException", message="The security token is invalid.")
        self._check_signature(request, body, stated, signer)
        asked = self._asked(stated["service"], request, body, signer)
        allowed = signer.policies.allow(asked)
        self.on_asked(asked, allowed, json.loads(body) if stated["service"] != "s3" and body else {})
        if not allowed:
            raise Refusal(
                code="AccessDeniedException",
                message=f"User is not authorized to perform: {asked.action} on resource: {asked.resource}",
            )
        return asked

    def _check_signature(self, request: Request, body: bytes, stated: re.Match[str], signer: Signer) -> None:
        stamp = request.headers.get("X-Amz-Date", "")
        signed_at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        now = datetime.now(UTC) + self.skew
        if now - signed_at > SKEW:
            raise Refusal(code="InvalidSignatureException", message=f"Signature expired: {stamp} is now earlier")
        if signed_at - now > SKEW:
            raise Refusal(code="InvalidSignatureException", message=f"Signature not yet current: {stamp}")
        if request.headers.get("X-Amz-Security-Token") != signer.session_token:
            raise Refusal(code="UnrecognizedClientException", message="The security token is invalid.")
        scheme = S3SigV4Auth if stated["service"] == "s3" else SigV4Auth
        signing = scheme(
            Credentials(stated["key"], signer.secret_access_key, signer.session_token),
            stated["service"],
            stated["region"],
        )
        signed = AWSRequest(
            method=request.method,
            url=request.url,
            headers={name: request.headers.get(name, "") for name in stated["headers"].split(";")},
            data=body,
        )
        signed.context["timestamp"] = stamp
        text = signing.string_to_sign(signed, signing.canonical_request(signed))
        if stated["region"] != self._region or signing.signature(text, signed) != stated["signature"]:
            raise Refusal(code="InvalidSignatureException", message="The signature does not match.")

    def _asked(self, service: str, request: Request, body: bytes, signer: Signer) -> Asked:
        """The request as IAM sees it."""
        target = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        stated = json.loads(body) if body and service != "s3" else {}
        place = f"{self._region}:{self._account_id}"
        if service == "dynamodb":
            asked = asked_of_dynamodb(
                target, stated, table_arn_prefix=f"arn:aws:dynamodb:{place}:table/", key=self._partition_key
            )
            return Asked(action=asked.action, resource=asked.resource, context={**signer.context, **asked.context})
        action = {"GET": "GetObject", "PUT": "PutObject"}[request.method] if service == "s3" else target
        parts = [
            Asked(
                action=f"{service}:{action}", resource=_RESOURCES[service](place, part, request), context=signer.context
            )
            for part in _parts(stated)
        ]
        return next((part for part in parts if not signer.policies.allow(part)), parts[0])


def _parts(stated: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """One request may ask for several things: it is refused whole when one of them is not allowed."""
    return [{**stated, "Name": name} for name in stated["Names"]] if "Names" in stated else [stated]


def _parameter(place: str, stated: Mapping[str, str], _: Request) -> str:
    return f"arn:aws:ssm:{place}:parameter/{stated['Name'].removeprefix('/')}"


def _log_stream(place: str, stated: Mapping[str, str], _: Request) -> str:
    return f"arn:aws:logs:{place}:log-group:{stated['logGroupName']}:log-stream:{stated['logStreamName']}"


_RESOURCES: Mapping[str, Callable[[str, Mapping[str, str], Request], str]] = {
    "ssm": _parameter,
    "logs": _log_stream,
    "ecr": lambda _place, _stated, _request: "*",
    "s3": lambda _place, _stated, request: f"arn:aws:s3:::{request.path.removeprefix('/')}",
}
