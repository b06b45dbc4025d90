"""AWS as an operator sees it: each request is judged by the policy that `agent-stack policy` prints for its signer.

DynamoDB, SSM, logs and the like are moto's behind it, invocations reach the world's functions, and Service Quotas
answers with the ceilings of the fake EC2.
"""

import json
import re
from ast import literal_eval
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import escape, unescape
from typing import Any
from urllib.parse import parse_qs, unquote

import httpx
from werkzeug import Request, Response

from tests.cli.image_builder import ImageBuilder
from tests.simulator.iam import Asked, Policies, asked_of_dynamodb
from tests.simulator.loopback import LoopbackServer

CODES: Mapping[str, str] = {
    "L-1216C47A": "on-demand:standard",
    "L-6E869C2A": "on-demand:dl",
    "L-74FC7D96": "on-demand:f",
    "L-DB2E81BA": "on-demand:g-vt",
    "L-F7808C92": "on-demand:hpc",
    "L-43DA4232": "on-demand:high-memory",
    "L-1945791B": "on-demand:inf",
    "L-417A185B": "on-demand:p",
    "L-2C3B7624": "on-demand:trn",
    "L-7295265B": "on-demand:x",
    "L-34B43A08": "spot:standard",
    "L-85EED4F7": "spot:dl",
    "L-88CF9481": "spot:f",
    "L-3819A6DF": "spot:g-vt",
    "L-B5D1601B": "spot:inf",
    "L-7212CCBC": "spot:p",
    "L-6B0D517C": "spot:trn",
    "L-E3A00192": "spot:x",
}
"""What Service Quotas knows of EC2's vCPUs, and not what doctor believes. Source: the links in tables of the EC2 user
guide, ec2-on-demand-instances and using-spot-limits, read on 2026-11-26."""

NO_QUOTA = 1_000_000
"""The vCPUs of a quota that the fake EC2 does not count."""

FILTERED_PAGE = "the-rest"
"""The token of a first page without a parameter. Source: the SSM API reference, DescribeParameters: its answers are
on a best-effort basis, so that a page may have no item, and a token for the next set."""

MASKED = "****"
"""Source: the CloudFormation user guide's page about parameters, NoEcho."""

_PARAMETER = re.compile(
    r"<ParameterKey>(?P<key>\w+)</ParameterKey>\s*"
    r"(?:<ParameterValue>(?P<value>[^<]*)</ParameterValue>|<ParameterValue ?/>)"
)
_SIGNED = re.compile(r"Credential=(?P<key>[^/]+)/\d{8}/[^/]+/(?P<service>[^/]+)/aws4_request")
_FUNCTION = re.compile(r"^/2015-03-31/functions/(?P<name>[^/]+)/(?P<what>configuration|invocations)$")
_CBOR_OPERATION = re.compile(r"/operation/(?P<action>\w+)$")
_PREFIX = {"tagging": "tag", "monitoring": "cloudwatch"}
"""IAM's name of a service where it is not the one that signatures carry."""

_FREE = frozenset({"sts:GetCallerIdentity"})
"""Allowed to everybody. Source: the STS API reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """What stands behind the front.

    Attributes:
        quotas: ceilings in vCPUs by bucket, such as `on-demand:standard`.
    """

    aws: str
    functions: str
    quotas: Callable[[], Mapping[str, int]]


class OperatorFront(LoopbackServer):
    """Lets a request through when the signer's policies allow it.

    Attributes:
        denied: actions that an organisation's policy takes from everybody.
        image_builder: answers for Image Builder, which moto does not know.
        no_echo: parameters whose templates declare NoEcho, so that their values are masked, empty ones, too.
    """

    def __init__(
        self,
        backends: Backends,
        *,
        region: str,
        account_id: str,
        policies: Callable[[str], Policies | None],
        keys: Mapping[str, str],
    ) -> None:
        """Serve.

        Args:
            policies: of the person with that access key id; None for nobody's.
            keys: the partition key of each table.
        """
        self.denied: set[str] = set()
        self.no_echo: set[str] = set()
        self.asked: list[Asked] = []
        self.image_builder = ImageBuilder()
        self._after: dict[str, Callable[[], object]] = {}
        self._backends, self._policies, self._keys = backends, policies, keys
        self._place = f"{region}:{account_id}"
        self._region = region
        self._client = httpx.Client(timeout=120)
        super().__init__(self._answer, advance=lambda: None)

    def close(self) -> None:
        """See `LoopbackServer`."""
        super().close()
        self._client.close()

    def after(self, action: str, happens: Callable[[], object]) -> None:
        """Let something happen once, when the next such request has been served and before its answer arrives."""
        self._after[action] = happens

    def _answer(self, request: Request) -> Response:
        signed = _SIGNED.search(request.headers.get("Authorization", ""))
        policies = self._policies(signed["key"]) if signed else None
        if signed is None or policies is None:
            return _refused(signed["service"] if signed else "", "UnrecognizedClientException", "no such key")
        service, body = signed["service"], request.get_data()
        happens = list[Callable[[], object]]()
        for asked in self._all_asked(service, request, body):
            self.asked.append(asked)
            if asked.action in self.denied or not (asked.action in _FREE or policies.allow(asked)):
                words = f"User is not authorized to perform: {asked.action} on resource: {asked.resource}"
                return _refused(service, "AccessDeniedException", words)
            happens += [self._after.pop(asked.action)] if asked.action in self._after else []
        answer = self._served(service, request, body)
        for one in happens:
            one()
        return answer

    def _served(self, service: str, request: Request, body: bytes) -> Response:
        if service == "servicequotas":
            return self._quota(json.loads(body))
        if service == "imagebuilder":
            return self.image_builder.answer(request.path.strip("/"), json.loads(body))
        if service == "ssm" and request.headers["X-Amz-Target"].endswith(".DescribeParameters"):
            stated = json.loads(body)
            if stated.pop("NextToken", None) != FILTERED_PAGE:
                return Response(json.dumps({"Parameters": [], "NextToken": FILTERED_PAGE}), status=200)
            body = json.dumps(stated).encode()
        answer = self._passed_on(self._backends.functions if service == "lambda" else self._backends.aws, request, body)
        if service == "cloudformation":
            answer.set_data(_PARAMETER.sub(self._parameter, answer.get_data(as_text=True)))
        return answer

    def _parameter(self, shown: re.Match[str]) -> str:
        """A parameter as CloudFormation shows it: moto shows a list as Python writes it."""
        key, value = shown["key"], unescape(shown["value"] or "")
        if key in self.no_echo:
            value = MASKED
        elif value.startswith("['"):
            value = ",".join(literal_eval(value))
        return f"<ParameterKey>{key}</ParameterKey><ParameterValue>{escape(value)}</ParameterValue>"

    def _all_asked(self, service: str, request: Request, body: bytes) -> Iterator[Asked]:
        prefix = _PREFIX.get(service, service)
        function = _FUNCTION.match(request.path)
        if function:
            action = "InvokeFunction" if function["what"] == "invocations" else "GetFunctionConfiguration"
            resource = f"arn:aws:lambda:{self._place}:function:{unquote(function['name'])}"
            yield Asked(action=f"lambda:{action}", resource=resource)
            return
        if service == "imagebuilder":
            yield Asked(action=f"imagebuilder:{request.path.strip('/')}", resource=json.loads(body)["imagePipelineArn"])
            return
        target = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        cbor = _CBOR_OPERATION.search(request.path)
        stated: Mapping[str, Any] = json.loads(body) if target and body else {}
        if service == "iam":
            stated = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        action = target or (cbor["action"] if cbor else parse_qs(body.decode())["Action"][0])
        if service == "dynamodb":
            yield asked_of_dynamodb(
                action,
                stated,
                table_arn_prefix=f"arn:aws:dynamodb:{self._place}:table/",
                key=self._keys[stated["TableName"]],
            )
        else:
            yield Asked(action=f"{prefix}:{action}", resource=self._resource(service, stated))

    def _resource(self, service: str, stated: Mapping[str, Any]) -> str:
        if service == "ssm" and "Name" in stated:
            name = stated["Name"].removeprefix("/")
            return f"arn:aws:ssm:{f'{self._region}:' if name.startswith('aws/') else self._place}:parameter/{name}"
        if service == "logs":
            return f"arn:aws:logs:{self._place}:log-group:{stated['logGroupName']}:log-stream:"
        if service == "iam":
            return str(stated["OpenIDConnectProviderArn"])
        return "*"

    def _quota(self, stated: Mapping[str, Any]) -> Response:
        bucket = CODES.get(stated["QuotaCode"])
        if stated["ServiceCode"] != "ec2" or bucket is None:
            return _refused("servicequotas", "NoSuchResourceException", "The quota does not exist")
        value = float(self._backends.quotas().get(bucket, NO_QUOTA))
        return Response(json.dumps({"Quota": {"QuotaCode": stated["QuotaCode"], "Value": value}}), status=200)

    def _passed_on(self, backend: str, request: Request, body: bytes) -> Response:
        headers = {name: value for name, value in request.headers if name.lower() not in {"host", "content-length"}}
        answer = self._client.request(
            request.method, backend + request.full_path.rstrip("?"), headers=headers, content=body
        )
        kept = {"content-type", "x-amzn-errortype", "x-amz-function-error"}
        shown = {name: value for name, value in answer.headers.items() if name.lower() in kept}
        return Response(answer.content, status=answer.status_code, headers=shown)


def _refused(service: str, code: str, message: str) -> Response:
    """A refusal in the service's own protocol."""
    if service in {"cloudformation", "iam", "sts"}:
        said = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
        return Response(said, status=403, content_type="text/xml")
    said = json.dumps({"__type": code, "message": message})
    return Response(said, status=400, content_type="application/x-amz-json-1.1", headers={"x-amzn-errortype": code})
