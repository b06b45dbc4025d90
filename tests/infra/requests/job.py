"""What a job may and may not with the role of the stack: its own pipeline's, by the tags that Buildkite signs."""

from dataclasses import replace

from tests.infra.requests.asking import PARAMETERS, PLACE, SECRETS, Named, ask, key
from tests.infra.stacks import KEY
from tests.simulator.deployment import ACCOUNT
from tests.simulator.iam import Asked

MINE, OTHER = "0184990a-4782-42b5-afc1-16715b10b1f0", "0184990a-4782-42b5-afc1-16715b10b1f1"
TAGS = {"pipeline_id": MINE, "pipeline_slug": "app"}
PATH = f"{PARAMETERS}/ci/pipelines"
ELASTIC = "arn:aws:s3:::elastic-secrets"
SHARED = ("env", "environment", "git-credentials", "private_ssh_key", "secret-files/X_SECRET")


def _job(asked: Asked, tags: dict[str, str] | None = None) -> Asked:
    given = {f"aws:PrincipalTag/{name}": [value] for name, value in (TAGS if tags is None else tags).items()}
    return replace(asked, context={**asked.context, **given})


def _s3(action: str, resource: str, **context: str) -> Asked:
    return _job(ask(f"s3:{action}", f"arn:aws:s3:::{resource}", **{f"s3__{k}": v for k, v in context.items()}))


def _tagged(action: str, name: str, pipelines: str, *, under: str = PATH, of: dict[str, str] | None = None) -> Asked:
    asked = ask(f"ssm:{action}", f"{under}/{name}", **{"aws__ResourceTag/agent-stack__pipelines": pipelines})
    return _job(asked, of)


def allowed() -> Named:
    for bucket in ("ci-artifacts", "ci-caches"):
        for action in ("AbortMultipartUpload", "GetObject", "PutObject"):
            yield f"own {bucket} {action}", _s3(action, f"{bucket}/{MINE}/build/x")
        yield f"own {bucket} listed", _s3("ListBucket", bucket, prefix=f"{MINE}/")
    on_main = {**TAGS, "build_branch": "main"}
    for action in ("AbortMultipartUpload", "PutObject"):
        yield f"main's cache {action}", _job(ask(f"s3:{action}", f"arn:aws:s3:::ci-caches/{MINE}/main/x"), on_main)
    yield "main's cache read", _s3("GetObject", f"ci-caches/{MINE}/main/x")
    yield (
        "main's cache read by another branch",
        _job(ask("s3:GetObject", f"arn:aws:s3:::ci-caches/{MINE}/main/x"), {**TAGS, "build_branch": "feature"}),
    )
    for acl in ("bucket-owner-full-control", "private"):
        yield f"own artifact {acl}", _s3("PutObjectAcl", f"ci-artifacts/{MINE}/x", **{"x-amz-acl": acl})
    yield "the bucket looked at, for nothing", _s3("ListBucket", "ci-artifacts", **{"max-keys": "0"})
    for action in ("GetParameter", "GetParameters"):
        yield f"own parameter {action}", _job(ask(f"ssm:{action}", f"{PATH}/{MINE}/TOKEN"))
    yield "own parameters", _job(ask("ssm:GetParametersByPath", f"{PATH}/{MINE}"))
    yield "an alias whose tag names it", _tagged("GetParameter", "payments/TOKEN", f"{OTHER} {MINE}")
    for name in (*SHARED, "app/env", "app/secret-files/X"):
        yield f"file {name}", _s3("GetObject", f"elastic-secrets/{name}")
    for prefix in ("app/", "secret-files/"):
        yield f"files under {prefix}", _s3("ListBucket", "elastic-secrets", prefix=prefix)
    for service in ("s3", "secretsmanager", "ssm"):
        yield f"key through {service}", _job(key("Decrypt", service))
    yield "key for an object", _job(key("GenerateDataKey", "s3"))


def denied() -> Named:
    for bucket in ("ci-artifacts", "ci-caches"):
        for action in ("AbortMultipartUpload", "GetObject", "PutObject"):
            yield f"another's {bucket} {action}", _s3(action, f"{bucket}/{OTHER}/build/x")
            yield f"nobody's {bucket} {action}", _s3(action, f"{bucket}/x")
        yield f"another's {bucket} listed", _s3("ListBucket", bucket, prefix=f"{OTHER}/")
        yield f"{bucket} listed", _s3("ListBucket", bucket)
        yield f"own {bucket} deleted", _s3("DeleteObject", f"{bucket}/{MINE}/x")
    for tags in (TAGS, {**TAGS, "build_branch": "feature"}, {**TAGS, "build_branch": "Main"}):
        for action in ("AbortMultipartUpload", "PutObject"):
            asked = ask(f"s3:{action}", f"arn:aws:s3:::ci-caches/{MINE}/main/x")
            yield f"main's cache {action} on {tags.get('build_branch', 'no branch')}", _job(asked, tags)
    yield "the artifacts' bucket looked at, for one", _s3("ListBucket", "ci-artifacts", **{"max-keys": "1"})
    yield "another bucket looked at", _s3("ListBucket", "prod", **{"max-keys": "0"})
    yield "another bucket listed", _s3("ListBucket", "prod", prefix=f"{MINE}/")
    yield "a public artifact", _s3("PutObjectAcl", f"ci-artifacts/{MINE}/x", **{"x-amz-acl": "public-read"})
    yield "an artifact's ACL by grants", _s3("PutObjectAcl", f"ci-artifacts/{MINE}/x")
    yield "another's ACL", _s3("PutObjectAcl", f"ci-artifacts/{OTHER}/x", **{"x-amz-acl": "private"})
    for action in ("GetParameter", "GetParameters", "GetParametersByPath"):
        yield f"another's parameter {action}", _job(ask(f"ssm:{action}", f"{PATH}/{OTHER}/TOKEN"))
        yield f"a parameter of no pipeline {action}", _job(ask(f"ssm:{action}", PATH))
        yield f"a parameter beside its own {action}", _job(ask(f"ssm:{action}", f"{PATH}/{MINE}0/TOKEN"))
    yield "an alias whose tag names another", _tagged("GetParameter", "payments/TOKEN", OTHER)
    yield "an alias without the tag", _job(ask("ssm:GetParameter", f"{PATH}/payments/TOKEN"))
    yield "an alias by several names", _tagged("GetParameters", "payments/TOKEN", MINE)
    yield "an alias written", _tagged("PutParameter", "payments/TOKEN", MINE)
    yield "a tagged parameter elsewhere", _tagged("GetParameter", "buildkite/agent-token", MINE, under=PARAMETERS)
    yield "an alias, without tags of its own", _tagged("GetParameter", "payments/TOKEN", MINE, of={})
    yield "own parameter written", _job(ask("ssm:PutParameter", f"{PATH}/{MINE}/TOKEN"))
    yield "the agent's token", _job(ask("ssm:GetParameter", f"{PARAMETERS}/buildkite/agent-token"))
    yield "a secret of no kind that is set", _job(ask("secretsmanager:GetSecretValue", f"{SECRETS}ci/x-AbCdEf"))
    for name in ("other/env", "app-2/env", "elsewhere"):
        yield f"file {name}", _s3("GetObject", f"elastic-secrets/{name}")
    for prefix in ("other/", "", "a"):
        yield f"files under '{prefix}'", _s3("ListBucket", "elastic-secrets", prefix=prefix)
    yield "all files", _s3("ListBucket", "elastic-secrets")
    yield "another bucket's files", _s3("ListBucket", "prod", prefix="app/")
    untagged = ask("s3:GetObject", f"arn:aws:s3:::ci-artifacts/{MINE}/x")
    yield "a session without tags", untagged
    yield "a session with an empty tag", _job(ask("s3:GetObject", "arn:aws:s3:::ci-artifacts/x/y"), {"pipeline_id": ""})
    yield "key by hand", _job(ask("kms:Decrypt", KEY))
    yield "another key", _job(key("Decrypt", "s3", KEY.replace("0123", "9999")))
    yield "key through DynamoDB", _job(key("Decrypt", "dynamodb"))
    yield "the mailbox", _job(ask("dynamodb:GetItem", f"arn:aws:dynamodb:{PLACE}:table/MailboxTableId"))
    yield "another role", _job(ask("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/admin"))
    yield "itself tagged", _job(ask("sts:TagSession", f"arn:aws:iam::{ACCOUNT}:role/JobRoleId"))
    yield "its role tagged", _job(ask("iam:TagRole", f"arn:aws:iam::{ACCOUNT}:role/JobRoleId"))
    yield "an instance started", _job(ask("ec2:RunInstances", "*"))
    yield "image pushed", _job(ask("ecr:PutImage", f"arn:aws:ecr:{PLACE}:repository/app"))
