"""The tags of a parameter or secret, which IAM compares where a policy says so.

Source: the Service Authorization Reference. Both services know `aws:ResourceTag` where a request names one of theirs. A
path names none, so GetParametersByPath is judged without tags. A secret that is not there has no random characters, so
IAM judges the ARN without them.
"""

from dataclasses import replace
from typing import Any

import boto3
from botocore.exceptions import ClientError

from tests.simulator.iam.policy import Asked, Policies
from tests.simulator.iam.services import SUFFIX

KEY = "aws:ResourceTag/"


class ResourceTags:
    """Looked up in the simulated service itself, because the operator tags there."""

    def __init__(self, backend: str, region: str) -> None:
        self._place = {"endpoint_url": backend, "region_name": region}

    def added(self, asked: Asked, policies: Policies) -> Asked:
        """The request with the tags of what it names; as it is where no policy of its signer asks for them."""
        service, _, _ = asked.action.partition(":")
        if service != "secretsmanager" and KEY not in str(policies.statements):
            return asked
        if asked.action == "ssm:GetParametersByPath" or asked.resource == "*":
            return asked
        try:
            tags = self._of(service, asked.resource)
        except ClientError:  # it is not there
            return replace(asked, resource=asked.resource.removesuffix(f"-{SUFFIX}"))
        found = {f"{KEY}{tag['Key']}": [tag["Value"]] for tag in tags}
        return replace(asked, context={**asked.context, **found})

    def _of(self, service: str, resource: str) -> Any:  # noqa: ANN401  (JSON)
        if service == "ssm":
            name = resource.partition(":parameter")[2]
            return self._client("ssm").list_tags_for_resource(ResourceType="Parameter", ResourceId=name)["TagList"]
        if service == "secretsmanager":
            name = resource.rpartition(":")[2].rpartition("-")[0]
            return self._client("secretsmanager").describe_secret(SecretId=name).get("Tags", [])
        return []

    def _client(self, service: str) -> Any:  # noqa: ANN401  (a client of any service)
        return boto3.client(
            service,  # type: ignore[call-overload]  # any service's name
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            **self._place,
        )
