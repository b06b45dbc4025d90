"""What scripts/smoke expects of a real account is what our own evaluator says of the template."""

import json
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
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

    def __init__(
        self,
        *,
        tokens: str = "required",
        denied: str = "",
        refused: Mapping[str, str] | None = None,
        gone: str = "",
        classes: str = "",
        comes: bool = True,
        logged: Sequence[str] = (),
    ) -> None:
        self._tokens = tokens
        self._denied = denied
        self._refused = refused or {}
        self._gone = gone
        self._classes = classes
        self._comes = comes
        self._logged = logged
        self._looks = 0
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def client(self, _service: str) -> "FakeAccount":
        return self

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803  (botocore's names, here and below)
        parameters = {"AgentTokenParameter": "/buildkite/agent-token", "Queues": "default", "JobMetadata": "blocked"}
        parameters |= {"ClassesParameter": "/classes"} if self._classes else {}
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
        self._dry_run("RunInstances", asked)

    def create_fleet(self, **asked: Any) -> None:  # noqa: ANN401
        self._dry_run("CreateFleet", asked)

    def _dry_run(self, action: str, asked: dict[str, Any]) -> None:
        assert asked["DryRun"] is True
        self.asked.append((action, asked))
        code = self._refused.get(action, "DryRunOperation")
        raise ClientError({"Error": {"Code": code, "Message": "would have"}}, action)

    def describe_subnets(self, Filters: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        named = [value for one in Filters for value in one["Values"]]
        return {"Subnets": [{"SubnetId": s, "AvailabilityZone": s[-1]} for s in named if s != self._gone]}

    def describe_images(self, ImageIds: list[str]) -> dict[str, Any]:  # noqa: N803
        return {"Images": [{"RootDeviceName": "/dev/sda1"} for _ in ImageIds]}

    def get_parameter(self, Name: str, **_: Any) -> dict[str, Any]:  # noqa: ANN401, N803
        shipped = STACK.resources["DefaultClasses"]["Properties"]["Value"]
        return {"Parameter": {"Value": self._classes if self._classes and Name == "/classes" else shipped}}

    def filter_log_events(self, nextToken: str = "", **_: Any) -> dict[str, Any]:  # noqa: ANN401, N803
        if not nextToken:
            return {"events": [], "nextToken": "more"}
        lines = [{"message": "launch_partial", "code": code, "error": "EC2's words"} for code in self._logged]
        return {"events": [{"message": json.dumps(line)} for line in lines]}

    def get_paginator(self, name: str) -> Any:  # noqa: ANN401
        if name == "filter_log_events":  # the first page may hold nothing: its events are those of the streams it read
            return SimpleNamespace(
                paginate=lambda **asked: [{"events": []}, self.filter_log_events(nextToken="more", **asked)]
            )
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
        shown = self._comes and state != "none" and (not wanted or state in wanted)
        return [{"Reservations": [{"Instances": [vm] if shown else []}]}]

    def describe_volumes(self, Filters: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        return {"Volumes": [{"Encrypted": True, "Tags": [{"Key": "agent-stack:deployment", "Value": "ci"}]}]}

    def get_queue_attributes(self, **_: Any) -> dict[str, Any]:  # noqa: ANN401
        return {"Attributes": {"ApproximateNumberOfMessages": "0"}}


def seen(account: FakeAccount) -> list[tuple[bool, str]]:
    smoke = Smoke("ci", client=account.client, minutes=1, pause=lambda _: None)
    return [said for step in (smoke.stack, smoke.permissions, smoke.launches, smoke.job) for said in step()]


def test_on_a_good_account_everything_is_as_it_should_be(capsys: pytest.CaptureFixture[str]) -> None:
    said = seen(FakeAccount())
    assert [words for good, words in said if not good] == []
    assert any("i-1 ended: Client.InstanceInitiatedShutdown" in words for _, words in said)
    assert "169.254.169.254" in capsys.readouterr().out


def test_what_is_not_as_it_should_be_is_named() -> None:
    bad = [words for good, words in seen(FakeAccount(tokens="optional", denied="iam:PassRole")) if not good]
    assert bad == ["dispatcher: iam:PassRole, VMs with the role InstanceRoleId: denied", "i-1 answers to IMDSv2 only"]


TWO_CLASSES = """
{"classes": {
  "a": {"instance_types": ["m7i.large", "m7a.large"], "image": "ami-0123456789abcdef0"},
  "b": {"instance_types": ["c7i.large"], "market": "spot", "fallback_to_on_demand": true, "image": "ami-0fedcba987"},
  "c": {"instance_types": ["c7i.large"], "image": "ami-0fedcba987", "root_device": "/dev/xvda"}
}, "default_class": "a"}
"""


def wrong(account: FakeAccount) -> list[str]:
    return [words for good, words in seen(account) if not good]


def test_what_the_stack_really_calls_is_dry_run() -> None:
    account = FakeAccount(classes=TWO_CLASSES)
    (only,) = wrong(account)
    assert "classes.c.root_device: /dev/sda1 is the root device of ami-0fedcba987" in only
    fleets = [asked for action, asked in account.asked if action == "CreateFleet"]
    overrides = [fleet["LaunchTemplateConfigs"][0]["Overrides"] for fleet in fleets]
    assert [{one["InstanceType"] for one in each} for each in overrides] == [
        {"m7i.large", "m7a.large"},
        {"c7i.large"},
        {"c7i.large"},
    ]
    kinds = [fleet["TargetCapacitySpecification"]["DefaultTargetCapacityType"] for fleet in fleets]
    assert kinds == ["on-demand", "spot", "on-demand"]
    launches = {(one["ImageId"], one["SubnetId"]) for action, one in account.asked if action == "RunInstances"}
    subnets = STACK.outputs["VmSubnets"].split(",")
    assert launches == {(image, subnet) for image in ("ami-0123456789abcdef0", "ami-0fedcba987") for subnet in subnets}


def test_a_subnet_that_is_gone_is_named() -> None:
    gone = STACK.outputs["VmSubnets"].split(",")[0]
    assert wrong(FakeAccount(gone=gone)) == [f"subnet {gone} does not exist"]


def test_a_closed_fleet_api_is_told_from_a_missing_permission() -> None:
    denied = wrong(FakeAccount(refused={"CreateFleet": "UnauthorizedOperation"}))
    assert len(denied) == 1
    assert "UnauthorizedOperation: a permission is missing" in denied[0]
    closed = wrong(FakeAccount(comes=False, logged=["MaxFleetCountExceeded", "MaxFleetCountExceeded"]))
    assert len(closed) == 2
    assert "MaxFleetCountExceeded: the account's Fleet API is closed" in closed[1]
    assert "no permission is missing. Ask AWS Support" in closed[1]
    other = wrong(FakeAccount(comes=False, logged=["UnauthorizedOperation", "Unheard.Of"]))
    assert "a permission is missing" in other[1]
    assert other[2] == "EC2 refused the dispatcher: Unheard.Of: EC2's words"
