"""Limits of AWS that a template meets without a word until it is deployed.

Sources: quotas of CloudFormation, Lambda and IAM, each in its user guide.
"""

import json

import pytest

from tests.infra.stacks import EVERYTHING, deployed, template
from tests.simulator.deployment import Resolved

LONG = {
    **EVERYTHING,
    "Queues": ",".join(f"queue-with-a-long-name-{number:02}" for number in range(20)),
    "AgentTags": ",".join(f"tag-{number:02}=value-{number:02}" for number in range(20)),
    "CostTags": ",".join(f"key-{number:02}=value-{number:02}" for number in range(40)),
    "Subnets": ",".join(f"subnet-{number:017x}" for number in range(6)),
    "ClassesParameter": "/" + "c" * 99,
}


def test_the_functions_environments_fit_into_four_kilobytes() -> None:
    """Of names and values, of both functions, with values as long as people make them."""
    for function in ("DispatcherFunction", "TrackerFunction"):
        variables = deployed(LONG).resources[function]["Properties"]["Environment"]["Variables"]
        assert sum(len(f"{name}{value}".encode()) for name, value in variables.items()) <= 4_096 - 200


def test_the_template_fits() -> None:
    whole = template()
    assert len(json.dumps(whole)) <= 1_048_576
    assert len(whole["Parameters"]) <= 200
    assert len(whole["Resources"]) <= 500
    assert len(whole["Outputs"]) <= 200


def stacks() -> list[Resolved]:
    secrets = {"JobSecretsPath": "/aws/reference/secretsmanager/" + "s" * 40}
    return [deployed(EVERYTHING), deployed({**EVERYTHING, **secrets})]


@pytest.mark.parametrize("stack", stacks(), ids=["parameters", "secrets"])
def test_roles_and_their_policies_fit(stack: Resolved) -> None:
    """A trust policy has 2,048 characters, all inline policies of a role 10,240, a managed one 6,144."""
    for name, made in stack.resources.items():
        if made["Type"] == "AWS::IAM::Role":
            assert len(compact(made["Properties"]["AssumeRolePolicyDocument"])) <= 2_048, name
            inline = [policy for policy in stack.policies(name) if policy not in managed(stack)]
            assert sum(len(compact(policy)) for policy in inline) <= 10_240, name
    assert all(len(compact(policy)) <= 6_144 for policy in managed(stack))


def managed(stack: Resolved) -> list[object]:
    kind = "AWS::IAM::ManagedPolicy"
    return [made["Properties"]["PolicyDocument"] for made in stack.resources.values() if made["Type"] == kind]


def compact(document: object) -> str:
    return json.dumps(document, separators=(",", ":"))
