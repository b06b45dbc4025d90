"""Deployments of template.yaml, resolved: what a test says of a stack, it says of one of these."""

from functools import cache
from typing import Any

from tests.simulator.deployment import Resolved, translated_template

REGION = "eu-central-1"
REQUIRED = {"AgentTokenParameter": "/buildkite/agent-token", "StackKey": "ci"}
OWN_NETWORK = {"VpcId": "vpc-0123456789abcdef0", "Subnets": "subnet-0123456789abcdef0,subnet-0123456789abcdef1"}
ORGANIZATION = "0184990a-477b-4fa8-9968-496074483c77"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/0123-4567"
TOKEN_KEY = "arn:aws:kms:eu-central-1:999999999999:key/7654-3210"

EVERYTHING = {
    **OWN_NETWORK,
    "AgentCredential": "agent-token",
    "ClassesParameter": "ci/classes",
    "GitSshKeyParameter": "/ci/{queue}/ssh-key",
    "GitCredentialsParameter": "/aws/reference/secretsmanager/git-credentials",
    "JobEnvironmentParameter": "/ci/environment",
    "SigningKeyParameter": "/ci/signing-key",
    "VerificationKeyParameter": "/ci/verification-key",
    "BootstrapUrl": "s3://ci-files/bootstrap.sh",
    "HooksUrl": "s3://ci-files/hooks.tar.gz",
    "EcrLogin": "account",
    "EcrAccounts": "222222222222,333333333333",
    "DockerLoginsParameter": "/ci/docker-logins",
    "DockerRegistryMirrors": "https://mirror.example",
    "GitMirrors": "https://git.example/acme/app.git",
    "GitMirrorSeedBucket": "ci-seeds",
    "ArtifactBucket": "ci-artifacts",
    "JobMetadata": "allowed",
    "JobAccess": "stack",
    "BuildkiteOrganizationId": ORGANIZATION,
    "CreateOidcProvider": "true",
    "JobSecretsPath": "/ci/pipelines",
    "CacheBucket": "ci-caches",
    "SecretsBucket": "elastic-secrets",
    "VmLogs": "cloudwatch",
    "SessionManager": "true",
    "FunctionSubnets": "subnet-0123456789abcdef2",
    "FunctionSecurityGroups": "sg-0123456789abcdef2",
    "KmsKeyArn": KEY,
    "AgentTokenKeyArn": TOKEN_KEY,
    "VmSecurityGroups": "sg-0123456789abcdef8,sg-0123456789abcdef9",
    "ImageParameters": "/acme/images/*",
    "Tracing": "true",
    "BuildkiteEventBusName": "aws.partner/buildkite.com/ci/1",
}
"""Whatever adds a permission."""


def template() -> dict[str, Any]:
    return dict(translated_template(region=REGION))


def deployed(parameters: dict[str, str] | None = None, **place: str) -> Resolved:
    return _deployed(tuple(sorted((parameters or {}).items())), tuple(sorted(place.items())))


@cache
def _deployed(parameters: tuple[tuple[str, str], ...], place: tuple[tuple[str, str], ...]) -> Resolved:
    return Resolved(template(), {**REQUIRED, **dict(parameters)}, **dict(place))
