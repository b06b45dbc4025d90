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

from tests.simulator.iam.policy import Asked, Context, Policies
from tests.simulator.iam.refusal import Refusal
from tests.simulator.iam.resource_tags import ResourceTags
from tests.simulator.iam.services import asked_of
from tests.simulator.iam.sts import FakeSts
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
        arn: as GetCallerIdentity shows it.
        context: condition keys that every request of its carries.
    """

    arn: str = ""
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    policies: Policies
    context: Context


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
        sts: FakeSts | None = None,
    ) -> None:
        """Serve.

        Args:
            signer: who has that access key id.
            partition_key: of the tables behind it.
            sts: makes the sessions of roles, which sign here, too.
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
        self._tags = ResourceTags(backend, region)
        self._region = region
        self._account_id = account_id
        self._signer = signer
        self._partition_key = partition_key
        self.sts = sts
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
        if self.sts is not None and b"Action=" in body and request.mimetype == "application/x-www-form-urlencoded":
            status, text = self.sts.answer(body, lambda: self._caller(request, body))
            return self._dated(Response(text, status=status, mimetype="text/xml"))
        if request.method == "HEAD" and "Authorization" not in request.headers:  # of a bucket: where it is, says S3
            return Response(status=403, headers={"x-amz-bucket-region": self._region})
        try:
            asked, signer = self._check(request, body)
        except Refusal as refusal:
            return self._dated(_refused(refusal, of_s3="X-Amz-Target" not in request.headers))
        headers = {name: value for name, value in request.headers if name.lower() not in {"host", "content-length"}}
        target = request.environ.get("RAW_URI", request.full_path.rstrip("?"))
        answer = self._backend.request(request.method, target, headers=headers, content=body)
        if self.lose_answer(asked):
            raise AnswerLost(asked.action)
        if answer.status_code == 404 and asked.action == "s3:GetObject" and not _may_list(asked, signer):
            return self._dated(_refused(Refusal(code="AccessDenied", message="Access Denied", status=403), of_s3=True))
        dropped = {"connection", "content-encoding", "content-length", "date", "server", "transfer-encoding"}
        kept = {name: value for name, value in answer.headers.items() if name not in dropped}
        content = _whole(asked, answer.content)
        return self._dated(Response(content, status=answer.status_code, headers=kept))

    def _caller(self, request: Request, body: bytes) -> tuple[str, Policies]:
        """Who signed a request to STS."""
        stated, signer = self._signed(request)
        self._check_signature(request, body, stated, signer)
        return signer.arn, signer.policies

    def _dated(self, response: Response) -> Response:
        response.headers["Date"] = (datetime.now(UTC) + self.skew).strftime("%a, %d %b %Y %H:%M:%S GMT")
        return response

    def _check(self, request: Request, body: bytes) -> tuple[Asked, Signer]:
        if self.refusals:
            raise self.refusals.popleft()
        if self.down:
            raise Refusal(code="ServiceUnavailable", message="down", status=503)
        stated, signer = self._signed(request)
        self._check_signature(request, body, stated, signer)
        service = stated["service"]
        parts = asked_of(
            service,
            request,
            body,
            place=f"{self._region}:{self._account_id}",
            partition_key=self._partition_key,
            context=signer.context,
        )
        parts = [self._tags.added(part, signer.policies) for part in parts]
        asked = next((part for part in parts if not signer.policies.allow(part)), parts[0])
        allowed = signer.policies.allow(asked)
        self.on_asked(asked, allowed, json.loads(body) if service != "s3" and body else {})
        if not allowed:
            raise Refusal(
                code="AccessDeniedException",
                message=f"User is not authorized to perform: {asked.action} on resource: {asked.resource}",
                status=403 if service == "s3" else 400,
            )
        return asked, signer

    def _signed(self, request: Request) -> tuple[re.Match[str], Signer]:
        """What the request says of its signature, and who has that key."""
        stated = _AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
        signer = (self._of_sts(stated["key"]) or self._signer(stated["key"])) if stated else None
        if stated is None or signer is None:
            raise Refusal(code="UnrecognizedClientException", message="The security token is invalid.", status=403)
        return stated, signer

    def _of_sts(self, access_key_id: str) -> Signer | None:
        session = self.sts.session(access_key_id) if self.sts is not None else None
        if session is None:
            return None
        return Signer(
            arn=session.arn,
            secret_access_key=session.secret_access_key,
            session_token=session.session_token,
            policies=Policies(session.role.policies),
            context={f"aws:PrincipalTag/{name}": [value] for name, value in session.tags.items()},
        )

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
            url=f"{request.scheme}://{request.host}{request.environ['RAW_URI']}",  # as it was sent, and signed
            headers={name: request.headers.get(name, "") for name in stated["headers"].split(";")},
            data=body,
        )
        signed.context["timestamp"] = stamp
        text = signing.string_to_sign(signed, signing.canonical_request(signed))
        if stated["region"] != self._region or signing.signature(text, signed) != stated["signature"]:
            raise Refusal(code="InvalidSignatureException", message="The signature does not match.")


def _refused(refusal: Refusal, *, of_s3: bool) -> Response:
    """As the service that was asked words it."""
    if of_s3:
        code = refusal.code.removesuffix("Exception")
        text = f"<Error><Code>{code}</Code><Message>{refusal.message}</Message></Error>"
        return Response(text, status=refusal.status, mimetype="application/xml")
    said = {"__type": f"com.amazon.coral.service#{refusal.code}", "message": refusal.message}
    return Response(json.dumps(said), status=refusal.status, mimetype="application/x-amz-json-1.1")


def _whole(asked: Asked, content: bytes) -> bytes:
    """With what the service says and the simulation behind this leaves out: the name that KMS has had since 2021."""
    if asked.action != "kms:GetPublicKey":
        return content
    said = json.loads(content)
    return json.dumps({"KeySpec": said.get("CustomerMasterKeySpec"), **said}).encode()


def _may_list(asked: Asked, signer: Signer) -> bool:
    """Who may not list a bucket is told by nothing whether an object is there."""
    bucket = asked.resource.partition("/")[0]
    return signer.policies.allow(Asked(action="s3:ListBucket", resource=bucket, context=signer.context))
