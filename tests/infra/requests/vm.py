"""What a VM may and may not: its own mailbox, and what the operator's parameters name."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.infra.requests.asking import ANOTHER_VM, ME, PARAMETERS, SECRETS, TABLES, Named, ask, key, log
from tests.infra.stacks import KEY, TOKEN_KEY
from tests.simulator.deployment import ACCOUNT
from tests.simulator.iam import Asked, asked_of_dynamodb

PROGRAM = f"program#{'0' * 64}"
MAX_ATTEMPTS_STORED = ("/ci/environment", "/ci/signing-key", "/ci/verification-key")
_READ = "job_id, queue_key, endpoint, agent_tags, agent_name, credential_kind"
_TAKE = {
    "UpdateExpression": "REMOVE credential SET stage = :stage, stage_seconds = :seconds",
    "ConditionExpression": "attribute_exists(credential)",
    "ReturnValues": "UPDATED_OLD",
}
_REPORT = {
    "UpdateExpression": "SET stage = :stage, stage_seconds = :seconds, detail = :detail",
    "ConditionExpression": "attribute_exists(instance_arn)",
    "ReturnValues": "NONE",
}


def _item(action: str, body: Mapping[str, Any], arn: str | None = ME, table: str = "MailboxTableId") -> Asked:
    key = {} if arn is None else {"Key": {"instance_arn": {"S": arn}}}
    asked = asked_of_dynamodb(action, {"TableName": table, **key, **body}, table_arn_prefix=TABLES, key="instance_arn")
    return replace(asked, context={**asked.context, "ec2:SourceInstanceARN": [ME]})


def allowed() -> Named:
    yield "own mailbox read", _item("GetItem", {"ProjectionExpression": _READ})
    yield "own hold read", _item("GetItem", {"ProjectionExpression": "hold_seconds"})
    yield "credential taken", _item("UpdateItem", _TAKE)
    yield "program read", _item("GetItem", {"ProjectionExpression": "program"}, PROGRAM)
    yield "stage told", _item("UpdateItem", _REPORT)
    yield "stage told, no values asked for", _item("UpdateItem", {**_REPORT, "ReturnValues": "NONE"})
    yield from _what_the_parameters_name()


def _what_the_parameters_name() -> Named:
    for name in ("/buildkite/agent-token", "/ci/default/ssh-key", *MAX_ATTEMPTS_STORED):
        for action in ("GetParameter", "GetParameters"):
            yield f"parameter {name} {action}", ask(f"ssm:{action}", f"{PARAMETERS}{name}")
    yield "docker logins", ask("ssm:GetParameters", f"{PARAMETERS}/ci/docker-logins")
    reference = "/aws/reference/secretsmanager/git-credentials"
    for action in ("GetParameter", "GetParameters"):
        yield f"parameter that names a secret {action}", ask(f"ssm:{action}", f"{PARAMETERS}{reference}")
    for name in ("git-credentials", "/ci/default/ssh-key", "/ci/docker-logins", *MAX_ATTEMPTS_STORED):
        yield f"secret {name}", ask("secretsmanager:GetSecretValue", f"{SECRETS}{name}-AbCdEf")
    for name in ("bootstrap.sh", "hooks.tar.gz"):
        yield name, ask("s3:GetObject", f"arn:aws:s3:::ci-files/{name}")
    yield "seed of a mirror", ask("s3:GetObject", "arn:aws:s3:::ci-seeds/git-mirror-seeds/app.tar")
    yield from _what_else_is_turned_on()


def _what_else_is_turned_on() -> Named:
    yield "registry login", ask("ecr:GetAuthorizationToken")
    for action in ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer"):
        yield f"image {action}", _of_ecr(action, ACCOUNT)
        for account in ("222222222222", "333333333333"):
            yield f"image of {account} {action}", _of_ecr(action, account)
    for action in ("CreateLogStream", "PutLogEvents"):
        yield f"log {action}", ask(f"logs:{action}", log("/agent-stack/ci/vms"))
    yield "session: instance", ask("ssm:UpdateInstanceInformation")
    for action in ("CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel"):
        yield f"session: {action}", ask(f"ssmmessages:{action}")
    for service in ("dynamodb", "s3", "secretsmanager", "ssm"):
        yield f"key through {service}", key("Decrypt", service)
    yield "the token's own key", key("Decrypt", "ssm", TOKEN_KEY)
    for action in ("Encrypt", "GenerateDataKey"):
        yield f"key {action}", key(action, "dynamodb")


def _of_ecr(action: str, account: str, region: str = "eu-central-1") -> Asked:
    """A request about a repository, which has its account in its context as AWS puts it there."""
    return ask(f"ecr:{action}", f"arn:aws:ecr:{region}:{account}:repository/app", aws__ResourceAccount=account)


def _registries() -> Named:
    yield "image of another account", _of_ecr("BatchGetImage", "999999999999")
    yield "image of another region", _of_ecr("BatchGetImage", "222222222222", "us-east-1")
    yield "image pushed to another account", _of_ecr("PutImage", "222222222222")
    yield "image pushed", _of_ecr("PutImage", ACCOUNT)


def _keys() -> Named:
    yield "the token's key by hand", ask("kms:Decrypt", TOKEN_KEY)
    yield "another key of a parameter", key("Decrypt", "ssm", TOKEN_KEY.replace("7654", "9999"))
    yield "another key", key("Decrypt", "dynamodb", KEY.replace("0123", "9999"))


def _holds() -> Named:
    for what in ("SET hold_seconds = :stage", "SET revoked = :seconds", "REMOVE credential SET revoked = :seconds"):
        yield f"own hold, by {what}", _item("UpdateItem", {**_REPORT, "UpdateExpression": what})
    yield "another's hold read", _item("GetItem", {"ProjectionExpression": "hold_seconds"}, ANOTHER_VM)


def _what_jobs_have() -> Named:
    for action in ("GetObject", "PutObject"):
        yield f"an artifact {action}", ask(f"s3:{action}", "arn:aws:s3:::ci-artifacts/a/b")
        yield f"a cache {action}", ask(f"s3:{action}", "arn:aws:s3:::ci-caches/a/b")
    yield "a pipeline's parameter", ask("ssm:GetParametersByPath", f"{PARAMETERS}/ci/pipelines/x")
    yield "a pipeline's secrets of a bucket", ask("s3:GetObject", "arn:aws:s3:::elastic-secrets/app/env")
    yield "the jobs' role", ask("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/JobRoleId")


def denied() -> Named:
    yield "another's mailbox read", _item("GetItem", {"ProjectionExpression": _READ}, ANOTHER_VM)
    yield "credential read", _item("GetItem", {"ProjectionExpression": f"{_READ}, credential"})
    yield "whole mailbox read", _item("GetItem", {"ProjectionExpression": _READ, "Key": {}})
    yield "mailbox read without a projection", _item("GetItem", {})
    whole = _item("GetItem", {"ProjectionExpression": _READ})
    nameless = {key: value for key, value in whole.context.items() if key != "dynamodb:Attributes"}
    yield "everything in the mailbox read", replace(whole, context=nameless)
    read = _item("GetItem", {"ProjectionExpression": "program"}, PROGRAM)
    nameless = {key: value for key, value in read.context.items() if key != "dynamodb:Attributes"}
    yield "everything of a program read", replace(read, context=nameless)
    yield "a program read by no key", _item("GetItem", {"ProjectionExpression": "program"}, None)
    yield "a program of another table", _item("GetItem", {"ProjectionExpression": "program"}, PROGRAM, "LedgerTableId")
    yield "the list of programs read", _item("GetItem", {"ProjectionExpression": "program"}, "programs")
    yield "more of a program read", _item("GetItem", {"ProjectionExpression": "program, superseded_at"}, PROGRAM)
    yield "a program read whole", _item("GetItem", {}, PROGRAM)
    yield "another's credential read as a program", _item("GetItem", {"ProjectionExpression": "program"}, ANOTHER_VM)
    yield "a program written", _item("UpdateItem", {**_REPORT, "UpdateExpression": "SET program = :stage"}, PROGRAM)
    yield "a stage told of a program", _item("UpdateItem", _REPORT, PROGRAM)
    yield "a read by no key", _item("GetItem", {"ProjectionExpression": _READ}, None)
    yield "another table read", _item("GetItem", {"ProjectionExpression": _READ}, table="LedgerTableId")
    yield "another's credential taken", _item("UpdateItem", _TAKE, ANOTHER_VM)
    yield "a write by no key", _item("UpdateItem", _TAKE, None)
    update = _item("UpdateItem", _TAKE)
    nameless = {key: value for key, value in update.context.items() if key != "dynamodb:Attributes"}
    yield "a write of anything", replace(update, context=nameless)
    yield from _holds()
    yield "job changed", _item("UpdateItem", {**_REPORT, "UpdateExpression": "SET job_id = :stage"})
    yield "endpoint changed", _item("UpdateItem", {**_REPORT, "UpdateExpression": "SET endpoint = :stage"})
    yield "credential guessed", _item("UpdateItem", {**_REPORT, "ConditionExpression": "begins_with(revoked, :stage)"})
    for values in ("ALL_OLD", "ALL_NEW", "UPDATED_NEW"):
        yield f"{values} returned", _item("UpdateItem", {**_TAKE, "ReturnValues": values})
    yield "another table written", _item("UpdateItem", _REPORT, table="LedgerTableId")
    for action in ("PutItem", "DeleteItem", "Query", "Scan", "BatchGetItem"):
        yield f"mailbox {action}", _item(action, {"ProjectionExpression": _READ})
    for action in ("GetParameter", "GetParameters"):
        yield f"another parameter {action}", ask(f"ssm:{action}", f"{PARAMETERS}/prod/database-password")
    yield "another secret", ask("secretsmanager:GetSecretValue", f"{SECRETS}prod-AbCdEf")
    yield "parameters listed", ask("ssm:DescribeParameters")
    yield "another object", ask("s3:GetObject", "arn:aws:s3:::ci-files/other")
    yield from _what_jobs_have()
    yield "a public artifact", ask("s3:PutObjectAcl", "arn:aws:s3:::ci-artifacts/x", **{"s3__x-amz-acl": "public-read"})
    yield "an artifact's ACL by grants", ask("s3:PutObjectAcl", "arn:aws:s3:::ci-artifacts/x")
    yield "another's ACL", ask("s3:PutObjectAcl", "arn:aws:s3:::prod/x", **{"s3__x-amz-acl": "private"})
    yield "another bucket written", ask("s3:PutObject", "arn:aws:s3:::prod/x")
    for bucket in ("ci-files", "prod"):
        yield f"{bucket} listed", ask("s3:ListBucket", f"arn:aws:s3:::{bucket}")
    yield from _registries()
    yield "a log of others", ask("logs:PutLogEvents", log("/aws/lambda/other"))
    yield "key by hand", ask("kms:Decrypt", KEY)
    yield from _keys()
    yield "a VM ended", ask("ec2:TerminateInstances", ME)
    yield "a role taken", ask("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/admin")
    yield "the agent's bus", ask("events:PutEvents")
