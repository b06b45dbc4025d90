"""`agent-stack oidc`: what of Buildkite's OIDC the account has, and the policies that a role for jobs needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from botocore.exceptions import ClientError

from agent_stack_cli.errors import CliError, code_of
from agent_stack_cli.output import Output
from agent_stack_cli.stacks import Stack

What = Literal["status", "provider", "trust", "permissions"]

ISSUER = "agent.buildkite.com"
AUDIENCE = "sts.amazonaws.com"
UUID = "????????-????-????-????-????????????"
MANAGER = "/aws/reference/secretsmanager/"
PIPELINES = "aws:ResourceTag/agent-stack:pipelines"
"""Of a secret that has an alias: the ids of the pipelines that may read it."""
SHARED_FILES = ("env", "environment", "git-credentials", "private_ssh_key", "secret-files/*")
"""Of a secrets bucket: what every pipeline gets."""
YOURS = "<UUID of your organisation: BUILDKITE_ORGANIZATION_ID of any job>"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is there.

    Attributes:
        provider: whether the account has Buildkite as an OIDC provider, for the audience of STS.
        role: what jobs assume; empty for none.
    """

    provider: bool
    role: str
    organization: str
    next: str


def provider_arn(stack: Stack) -> str:
    """The ARN that the provider has or would have."""
    _, partition, _, _, account, _ = stack.arn.split(":", 5)
    return f"arn:{partition}:iam::{account}:oidc-provider/{ISSUER}"


def read(stack: Stack) -> Seen:
    """Ask IAM for the provider; all else stands in the stack's parameters and outputs."""
    provider = _has_provider(stack)
    role = stack.outputs.get("JobRole", "")
    organization = stack.parameters.get("BuildkiteOrganizationId", "")
    if not provider:
        step = stack.deploy("CreateOidcProvider=true")
    elif not role:
        step = stack.deploy("JobAccess=stack", f"BuildkiteOrganizationId={organization or '<UUID>'}")
    else:
        step = ""
    return Seen(provider=provider, role=role, organization=organization, next=step)


def _has_provider(stack: Stack) -> bool:
    """Whether it is there and takes tokens for STS."""
    iam = stack.session.client("iam")
    try:
        found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=provider_arn(stack))
    except ClientError as error:
        if code_of(error) != "NoSuchEntity":
            raise
        return False
    if AUDIENCE not in found["ClientIDList"]:
        raise CliError(
            f"the OIDC provider {ISSUER} does not take the audience {AUDIENCE}",
            next=stack.aws(
                *("iam", "add-client-id-to-open-id-connect-provider", "--client-id", AUDIENCE),
                *("--open-id-connect-provider-arn", provider_arn(stack)),
            ),
        )
    return True


def trust(stack: Stack) -> dict[str, Any]:
    """The trust policy of a role for jobs: the organisation by subject and tag, the audience, and mandatory tags."""
    organization = stack.parameters.get("BuildkiteOrganizationId", "") or YOURS
    condition = {
        "StringEquals": {
            f"{ISSUER}:aud": AUDIENCE,
            f"{ISSUER}:sub": organization,
            "aws:RequestTag/organization_id": organization,
        },
        "StringLike": {
            "aws:RequestTag/pipeline_id": UUID,
            "aws:RequestTag/pipeline_slug": "?*",
            "aws:RequestTag/job_id": UUID,
        },
    }
    statement = {
        "Effect": "Allow",
        "Action": ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"],
        "Principal": {"Federated": provider_arn(stack)},
        "Condition": condition,
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def permissions(stack: Stack) -> dict[str, Any]:
    """What a job needs of artifacts, caches and secrets, each under its pipeline's id, as JobAccess=stack has it."""
    _, partition, _, region, account, _ = stack.arn.split(":", 5)
    own = "${aws:PrincipalTag/pipeline_id}"
    given = stack.parameters
    statements: list[Mapping[str, Any]] = []

    def allow(actions: list[str], resource: str | list[str], **condition: Any) -> None:  # noqa: ANN401  (IAM's own)
        statement = {"Effect": "Allow", "Action": actions, "Resource": resource}
        statements.append({**statement, **({"Condition": condition} if condition else {})})

    caches = stack.outputs.get("CacheBucket") or given.get("CacheBucket")
    for bucket in filter(None, (given.get("ArtifactBucket"), caches)):
        arn = f"arn:{partition}:s3:::{bucket}"
        allow(["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"], f"{arn}/{own}/*")
        allow(["s3:ListBucket"], arn, StringLike={"s3:prefix": f"{own}/*"})
    if caches:
        denied = {
            "Effect": "Deny",
            "Action": ["s3:AbortMultipartUpload", "s3:PutObject"],
            "Resource": f"arn:{partition}:s3:::{caches}/{own}/main/*",
            "Condition": {"StringNotEquals": {"aws:PrincipalTag/build_branch": "main"}},
        }
        statements.append(denied)
    if artifacts := given.get("ArtifactBucket"):
        arn, acls = f"arn:{partition}:s3:::{artifacts}", ["bucket-owner-full-control", "private"]
        allow(["s3:PutObjectAcl"], f"{arn}/{own}/*", StringEquals={"s3:x-amz-acl": acls})
        allow(["s3:ListBucket"], arn, NumericEquals={"s3:max-keys": "0"})
    path = given.get("JobSecretsPath", "")
    if path.startswith(MANAGER):
        prefix = path.removeprefix(MANAGER)
        secret = f"arn:{partition}:secretsmanager:{region}:{account}:secret:{prefix}/{own}"
        allow(["secretsmanager:GetSecretValue"], [f"{secret}-??????", secret])
        shared = f"arn:{partition}:secretsmanager:{region}:{account}:secret:{prefix}/*"
        allow(["secretsmanager:GetSecretValue"], shared, StringLike={PIPELINES: f"*{own}*"})
    elif path:
        parameter = f"arn:{partition}:ssm:{region}:{account}:parameter{path}/{own}"
        allow(["ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"], [parameter, f"{parameter}/*"])
        shared = f"arn:{partition}:ssm:{region}:{account}:parameter{path}/*"
        allow(["ssm:GetParameter"], shared, StringLike={PIPELINES: f"*{own}*"})
    if files := given.get("SecretsBucket"):
        arn, slug = f"arn:{partition}:s3:::{files}", "${aws:PrincipalTag/pipeline_slug}"
        allow(["s3:GetObject"], [f"{arn}/{slug}/*", *(f"{arn}/{name}" for name in SHARED_FILES)])
        allow(["s3:ListBucket"], arn, StringLike={"s3:prefix": [f"{slug}/*", "secret-files/"]})
    if key := given.get("KmsKeyArn"):
        suffix = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
        through = [f"{service}.{region}.{suffix}" for service in ("s3", "secretsmanager", "ssm")]
        allow(["kms:Decrypt", "kms:GenerateDataKey"], key, StringEquals={"kms:ViaService": through})
    if not statements:
        raise CliError(
            f"{stack.name} names nothing that a job could reach",
            next=stack.deploy("JobSecretsPath=/ci/pipelines", "ArtifactBucket=<bucket>"),
        )
    return {"Version": "2012-10-17", "Statement": statements}


def create_provider(stack: Stack) -> str:
    """The command that makes the provider by hand."""
    words = ("iam", "create-open-id-connect-provider", "--url", f"https://{ISSUER}", "--client-id-list", AUDIENCE)
    return stack.aws(*words)


def show(stack: Stack, what: What, output: Output) -> None:
    """Print it: policies as JSON, a command as a line."""
    if what == "trust":
        output.json(trust(stack))
    elif what == "permissions":
        output.json(permissions(stack))
    elif what == "provider":
        output.line(create_provider(stack))
    else:
        seen = read(stack)
        if output.as_json:
            output.json(seen)
            return
        output.line(f"OIDC provider {ISSUER}: {'there' if seen.provider else 'missing in this account'}")
        output.line(f"Role of jobs: {seen.role or 'none, so jobs have no AWS access of their own'}")
        output.line(f"Organisation: {seen.organization or 'not named (BuildkiteOrganizationId)'}")
        if seen.next:
            output.line(f"Next: {seen.next}")
