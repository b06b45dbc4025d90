"""`agent-stack oidc`: what is there, and policies that are those of the template."""

import json
from typing import Any

import boto3

from agent_stack_cli import oidc
from agent_stack_cli.stacks import Stack
from tests.cli.served import Served
from tests.infra.stacks import EVERYTHING, ORGANIZATION, deployed
from tests.simulator.deployment import ACCOUNT, Resolved

NAMED = {"StackKey": "ci", **EVERYTHING}


def stack_of(resolved: Resolved, **parameters: str) -> Stack:
    return Stack(
        session=None,  # type: ignore[arg-type]  # policies ask nobody
        name="ci",
        arn=f"arn:aws:cloudformation:eu-central-1:{ACCOUNT}:stack/ci/1",
        status="CREATE_COMPLETE",
        parameters={**NAMED, **parameters},
        outputs={"JobRole": resolved.arn("JobRole")},
    )


def granted(documents: list[Any]) -> set[str]:
    """Each action with its effect, resource and condition, whatever statements they stand in."""
    return {
        json.dumps([statement["Effect"], action, resource, statement.get("Condition")], sort_keys=True)
        for document in documents
        for statement in document["Statement"]
        for action in _listed(statement["Action"])
        for resource in _listed(statement["Resource"])
    }


def _listed(value: Any) -> list[Any]:  # noqa: ANN401  (JSON: one or a list of them)
    return value if isinstance(value, list) else [value]


def test_the_printed_trust_policy_is_that_of_the_stacks_own_role() -> None:
    resolved = deployed({**EVERYTHING, "CreateOidcProvider": "false"})
    made = resolved.resources["JobRole"]["Properties"]["AssumeRolePolicyDocument"]
    assert oidc.trust(stack_of(resolved)) == made
    unnamed = oidc.trust(stack_of(resolved, BuildkiteOrganizationId=""))
    assert "UUID of your organisation" in json.dumps(unnamed)
    assert ORGANIZATION in json.dumps(made)


def test_the_printed_permissions_are_those_of_the_stacks_own_role() -> None:
    for path in ("/ci/pipelines", "/aws/reference/secretsmanager/ci/pipelines"):
        parameters = {**EVERYTHING, "JobSecretsPath": path}
        resolved = deployed(parameters)
        printed = oidc.permissions(stack_of(resolved, JobSecretsPath=path))
        assert granted([printed]) == granted(list(resolved.policies("JobRole")))


def test_it_says_what_is_missing_and_what_to_run(served: Served) -> None:
    said = served.run("oidc").output
    assert "OIDC provider agent.buildkite.com: missing in this account" in said
    assert "Role of jobs: none" in said
    assert "CreateOidcProvider=true" in said
    iam = boto3.client(
        "iam",
        region_name="us-east-1",
        endpoint_url=served.world.aws_url,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    made = iam.create_open_id_connect_provider(Url="https://agent.buildkite.com", ClientIDList=["sts.amazonaws.com"])
    said = served.run("oidc").output
    assert "agent.buildkite.com: there" in said
    assert "JobAccess=stack" in said
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=made["OpenIDConnectProviderArn"])
