"""The stack whose jobs a yard runs, and the role that it makes for them."""

from collections.abc import Mapping
from datetime import UTC, datetime

from tests.infra.stacks import deployed
from tests.simulator.buildkite import Buildkite
from tests.simulator.iam.sts import Role

REGION, ACCOUNT = "eu-central-1", "123456789012"
ORGANIZATION = Buildkite(now=lambda: datetime.now(UTC)).organization_id
"""The same one in each simulated Buildkite of the same seed."""

ACCESS = {
    "JobAccess": "stack",
    "BuildkiteOrganizationId": ORGANIZATION,
    "ArtifactBucket": "artifacts",
    "CacheBucket": "caches",
    "SecretsBucket": "elastic-secrets",
    "JobSecretsPath": "/ci/pipelines",
}
BUCKETS = ("artifacts", "caches", "elastic-secrets")


def job_role(parameters: Mapping[str, str] = ACCESS) -> Role:
    """The role that the stack makes for jobs."""
    stack = deployed(dict(parameters))
    return Role(
        arn=stack.arn("JobRole"),
        trust=stack.resources["JobRole"]["Properties"]["AssumeRolePolicyDocument"],
        policies=stack.policies("JobRole"),
    )
