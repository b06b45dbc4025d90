"""What a request to a service asks of IAM: its actions, the resources that it names, its condition keys.

Source: the Service Authorization Reference, by service; the S3 user guide on what a stated ACL needs.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from werkzeug import Request

from tests.simulator.iam.dynamodb import asked_of_dynamodb
from tests.simulator.iam.policy import Asked, Context

SUFFIX = "AbCdEf"
"""What Secrets Manager appends to a secret's name in its ARN; six characters, whichever."""

_OBJECTS = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "POST": "PutObject", "DELETE": "DeleteObject"}


def asked_of(
    service: str, request: Request, body: bytes, *, place: str, partition_key: str, context: Context
) -> Sequence[Asked]:
    """Everything that one request asks for: it is refused whole when one of them is not allowed.

    Args:
        place: region and account, as they stand in an ARN.
        context: of the principal.
    """
    if service == "s3":
        return _of_s3(request, context)
    action = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
    stated = json.loads(body) if body else {}
    if service == "dynamodb":
        asked = asked_of_dynamodb(
            action, stated, table_arn_prefix=f"arn:aws:dynamodb:{place}:table/", key=partition_key
        )
        return [Asked(action=asked.action, resource=asked.resource, context={**context, **asked.context})]
    resources = _RESOURCES[service](place, action, stated)
    return [Asked(action=f"{service}:{action}", resource=resource, context=context) for resource in resources]


def _of_s3(request: Request, context: Context) -> Sequence[Asked]:
    bucket, _, key = unquote(request.path).removeprefix("/").partition("/")
    arn = f"arn:aws:s3:::{bucket}"
    if not key and "location" in request.args:
        return [Asked(action="s3:GetBucketLocation", resource=arn, context=context)]
    if not key:
        stated: dict[str, Sequence[str]] = {
            f"s3:{name}": [request.args[name]] for name in ("prefix", "delimiter", "max-keys") if name in request.args
        }
        return [Asked(action="s3:ListBucket", resource=arn, context={**context, **stated})]
    asked = [Asked(action=f"s3:{_OBJECTS[request.method]}", resource=f"{arn}/{key}", context=context)]
    if acl := request.headers.get("X-Amz-Acl"):
        with_acl = {**context, "s3:x-amz-acl": [acl]}
        asked.append(Asked(action="s3:PutObjectAcl", resource=f"{arn}/{key}", context=with_acl))
    return asked


def _ssm(place: str, action: str, stated: Mapping[str, Any]) -> Sequence[str]:
    names = stated.get("Names") or [next((stated[key] for key in ("Name", "Path", "ResourceId") if key in stated), "*")]
    return [f"arn:aws:ssm:{place}:parameter/{name.removeprefix('/')}" for name in names]


def _secrets(place: str, action: str, stated: Mapping[str, Any]) -> Sequence[str]:
    named = stated.get("SecretId", stated.get("Name"))
    if named is None:
        return ["*"]
    return [named if named.startswith("arn:") else f"arn:aws:secretsmanager:{place}:secret:{named}-{SUFFIX}"]


def _logs(place: str, action: str, stated: Mapping[str, Any]) -> Sequence[str]:
    group = f"arn:aws:logs:{place}:log-group:{stated['logGroupName']}"
    return [f"{group}:log-stream:{stated.get('logStreamName', '')}"]


def _ecr(place: str, action: str, stated: Mapping[str, Any]) -> Sequence[str]:
    name = stated.get("repositoryName")
    return [f"arn:aws:ecr:{place}:repository/{name}" if name else "*"]


def _kms(place: str, action: str, stated: Mapping[str, Any]) -> Sequence[str]:
    return [f"arn:aws:kms:{place}:key/{stated['KeyId']}" if "KeyId" in stated else "*"]


_RESOURCES = {"ssm": _ssm, "logs": _logs, "ecr": _ecr, "secretsmanager": _secrets, "kms": _kms}
