"""What scripts/smoke expects of a real account is what our own evaluator says of the template."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.expectations import Expectation, Names, expectations
from infra.smoke import Smoke
from tests.infra.required_actions import DISPATCHER, TRACKER, VM
from tests.infra.stacks import OWN_NETWORK, deployed
from tests.simulator.deployment import ACCOUNT
from tests.simulator.iam import Asked, Policies

STACK = deployed(OWN_NETWORK)
ROLES = {"dispatcher": DISPATCHER, "tracker": TRACKER, "vm": VM}
NAMES = Names(
    stack="ci",
    partition="aws",
    place=f"eu-central-1:{ACCOUNT}",
    roles={name: STACK.arn(role) for name, role in ROLES.items()},
    ledger=STACK.outputs["LedgerTable"],
    mailbox=STACK.outputs["MailboxTable"],
    template=STACK.outputs["LaunchTemplate"],
    vpc=STACK.outputs["VmVpc"],
    token_parameter="/buildkite/agent-token",
)


@pytest.mark.parametrize("expected", list(expectations(NAMES)), ids=lambda e: f"{e.role}: {e.action}, {e.what}")
def test_aws_is_expected_to_judge_as_we_do(expected: Expectation) -> None:
    asked = Asked(action=expected.action, resource=expected.resource, context=expected.context)
    assert Policies(STACK.policies(ROLES[expected.role])).allow(asked) is expected.allowed


def test_there_are_both_for_every_role() -> None:
    assert {(e.role, e.allowed) for e in expectations(NAMES)} == {(r, a) for r in ROLES for a in (True, False)}


def test_the_stack_puts_out_what_the_script_reads() -> None:
    wanted = {"DispatcherRole", "TrackerRole", "InstanceRole", "LedgerTable", "MailboxTable", "LaunchTemplate"}
    assert wanted | {"VmVpc", "VmSubnets", "FailedEvents"} <= set(STACK.outputs)


class FakeAccount:
    """As much of an account as the script asks: its simulator is our evaluator, and one VM lives for two looks."""

    def __init__(self, *, tokens: str = "required", denied: str = "") -> None:
        self._tokens = tokens
        self._denied = denied
        self._looks = 0

    def client(self, _service: str) -> "FakeAccount":
        return self

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803  (botocore's names, here and below)
        parameters = {"AgentTokenParameter": "/buildkite/agent-token", "Queues": "default", "JobMetadata": "blocked"}
        return {
            "Stacks": [
                {
                    "StackName": StackName,
                    "StackId": f"arn:aws:cloudformation:eu-central-1:{ACCOUNT}:stack/{StackName}/1",
                    "StackStatus": "CREATE_COMPLETE",
                    "Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in STACK.outputs.items()],
                    "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
                }
            ]
        }

    def get_role(self, RoleName: str) -> dict[str, Any]:  # noqa: N803
        return {"Role": {"Arn": STACK.arn("InstanceRole")}}

    def simulate_principal_policy(self, **asked: Any) -> dict[str, Any]:  # noqa: ANN401
        (role,) = (name for name in ROLES.values() if STACK.arn(name) == asked["PolicySourceArn"])
        context = {entry["ContextKeyName"]: entry["ContextKeyValues"] for entry in asked["ContextEntries"]}
        (action,), (resource,) = asked["ActionNames"], asked["ResourceArns"]
        allowed = Policies(STACK.policies(role)).allow(Asked(action=action, resource=resource, context=context))
        decision = "allowed" if allowed and action != self._denied else "implicitDeny"
        return {"EvaluationResults": [{"EvalDecision": decision}]}

    def run_instances(self, **asked: Any) -> None:  # noqa: ANN401
        assert asked["DryRun"] is True
        raise ClientError({"Error": {"Code": "DryRunOperation", "Message": "would have"}}, "RunInstances")

    def get_paginator(self, name: str) -> "FakeAccount":
        assert name == "describe_instances"
        return self

    def paginate(self, Filters: list[dict[str, Any]]) -> list[dict[str, Any]]:  # noqa: N803
        self._looks += 1
        state = "none" if self._looks < 3 else "running" if self._looks < 4 else "terminated"
        wanted = [value for one in Filters if one["Name"] == "instance-state-name" for value in one["Values"]]
        vm = {
            "InstanceId": "i-1",
            "InstanceType": "m7i.large",
            "Placement": {"AvailabilityZone": "eu-central-1a"},
            "MetadataOptions": {"HttpTokens": self._tokens},
            "StateReason": {"Code": "Client.InstanceInitiatedShutdown"},
        }
        shown = state != "none" and (not wanted or state in wanted)
        return [{"Reservations": [{"Instances": [vm] if shown else []}]}]

    def describe_volumes(self, Filters: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        return {"Volumes": [{"Encrypted": True, "Tags": [{"Key": "agent-stack:deployment", "Value": "ci"}]}]}

    def get_queue_attributes(self, **_: Any) -> dict[str, Any]:  # noqa: ANN401
        return {"Attributes": {"ApproximateNumberOfMessages": "0"}}


def seen(account: FakeAccount) -> list[tuple[bool, str]]:
    smoke = Smoke("ci", client=account.client, minutes=1, pause=lambda _: None)
    return [said for step in (smoke.stack, smoke.permissions, smoke.template, smoke.job) for said in step()]


def test_on_a_good_account_everything_is_as_it_should_be(capsys: pytest.CaptureFixture[str]) -> None:
    said = seen(FakeAccount())
    assert [words for good, words in said if not good] == []
    assert any("i-1 ended: Client.InstanceInitiatedShutdown" in words for _, words in said)
    assert "169.254.169.254" in capsys.readouterr().out


def test_what_is_not_as_it_should_be_is_named() -> None:
    bad = [words for good, words in seen(FakeAccount(tokens="optional", denied="iam:PassRole")) if not good]
    assert bad == ["dispatcher: iam:PassRole, VMs with the role InstanceRoleId: denied", "i-1 answers to IMDSv2 only"]
