"""What the roles may do, by the policies of the translated and resolved template, and that nothing in them is idle."""

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from operator import eq
from typing import Any

import pytest

from tests.infra.launches import OURS, Launch
from tests.infra.requests import SCHEDULER, Request, requests
from tests.infra.required_actions import DISPATCHER, JOB, TRACKER, VM
from tests.infra.stacks import EVERYTHING, deployed
from tests.simulator.deployment import ACCOUNT
from tests.simulator.iam import Asked, Policies

STACK = deployed(EVERYTHING)
REQUESTS = requests(STACK)
ROLES = (DISPATCHER, TRACKER, VM, JOB, SCHEDULER)
Documents = Sequence[Mapping[str, Any]]


def allows(documents: Documents, request: Request) -> bool:
    policies = Policies(documents)
    return all(policies.allow(asked) for asked in request.asked)


def verdicts(documents: Documents, role: str) -> Iterator[bool]:
    """One by one, because the first that differs is enough."""
    policies = Policies(documents)
    return (all(policies.allow(asked) for asked in request.asked) for request in REQUESTS if request.role == role)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: f"{request.role}: {request.name}")
def test_a_role_may_do_what_it_must_and_nothing_else(request_: Request) -> None:
    assert allows(STACK.policies(request_.role), request_) is request_.allowed


def test_there_are_enough_of_both_and_each_has_a_name_of_its_own() -> None:
    assert len(REQUESTS) >= 40
    counted = Counter((request.role, request.allowed) for request in REQUESTS)
    assert all(counted[role, allowed] >= 5 for role in ROLES for allowed in (True, False)), counted
    names = Counter((request.role, request.allowed, request.name) for request in REQUESTS)
    assert not [name for name, count in names.items() if count > 1]


def mutants(documents: Documents) -> Iterator[tuple[str, Documents]]:
    """The documents with one thing less: an action, a condition, one of a condition's values, a bound on resources."""
    for d, document in enumerate(documents):
        for s, statement in enumerate(document["Statement"]):
            name = statement.get("Sid") or f"{statement['Action']}"
            for key in ("Action", "Resource"):
                values = statement[key] if isinstance(statement[key], list) else [statement[key]]
                for value in values:
                    rest = [other for other in values if other != value]
                    yield f"{name} without {value}", _with(documents, d, s, {key: rest})
            if statement["Resource"] != "*" and statement["Effect"] == "Allow":
                yield f"{name} for all resources", _with(documents, d, s, {"Resource": "*"})
            conditions = statement.get("Condition", {})
            for operator, keys in conditions.items():
                for key, wanted in keys.items():
                    less = {**conditions, operator: {k: v for k, v in keys.items() if k != key}}
                    yield f"{name} without {operator} {key}", _with(documents, d, s, {"Condition": less})
                    for value in wanted if isinstance(wanted, list) and len(wanted) > 1 else ():
                        rest = [other for other in wanted if other != value]
                        less = {**conditions, operator: {**keys, key: rest}}
                        yield f"{name}: {key} without {value}", _with(documents, d, s, {"Condition": less})


def _with(documents: Documents, document: int, statement: int, change: Mapping[str, Any]) -> Documents:
    changed = copy.deepcopy(list(documents))
    changed[document]["Statement"][statement].update(change)
    return changed


def test_a_vm_role_of_the_operators_is_passed_and_no_other_whatever_its_path() -> None:
    dispatcher = Policies(deployed({**EVERYTHING, "InstanceRoleName": "builders"}).policies(DISPATCHER))
    context = {"iam:PassedToService": ["ec2.amazonaws.com"]}
    passed = {
        name: dispatcher.allow(
            Asked(action="iam:PassRole", resource=f"arn:aws:iam::{ACCOUNT}:role/{name}", context=context)
        )
        for name in ("builders", "ci/builders", "a/b/builders", "admin", "builders/admin", "other-builders")
    }
    assert [name for name, allowed in passed.items() if allowed] == ["builders", "ci/builders", "a/b/builders"]


def test_without_groups_of_the_operators_vms_have_the_one_that_the_stack_makes_and_no_other() -> None:
    stack = deployed()
    launched = Policies(stack.policies(DISPATCHER))
    for group, allowed in (("", True), ("sg-0fffffffffffffff0", False)):
        launch = Launch(stack=stack, group=group, vpc=f"{OURS}:vpc/{stack.outputs['VmVpc']}")
        assert all(launched.allow(asked) for asked in launch.asked()) is allowed
    (made,) = stack.resources["LaunchTemplate"]["Properties"]["LaunchTemplateData"]["SecurityGroupIds"]
    assert made.startswith("sg-")
    theirs = STACK.resources["LaunchTemplate"]["Properties"]["LaunchTemplateData"]["SecurityGroupIds"]
    assert theirs == EVERYTHING["VmSecurityGroups"].split(",")


def test_vms_read_the_script_of_each_class_and_nothing_beside() -> None:
    known = Policies(deployed({"BootstrapUrl": "s3://ci-files/boot/{class}.sh"}).policies(VM))
    read = {
        name: known.allow(Asked(action="s3:GetObject", resource=f"arn:aws:s3:::ci-files/{name}"))
        for name in ("boot/gpu.sh", "boot/default.sh", "boot/gpu.txt", "other/gpu.sh")
    }
    assert [name for name, allowed in read.items() if allowed] == ["boot/gpu.sh", "boot/default.sh"]


def test_a_token_that_another_account_shares_is_read_by_its_arn() -> None:
    shared = "arn:aws:ssm:eu-central-1:999999999999:parameter/shared/agent-token"
    both = Policies(deployed({"AgentTokenParameter": shared}).policies(TRACKER))
    assert both.allow(Asked(action="ssm:GetParameter", resource=shared))
    assert not both.allow(Asked(action="ssm:GetParameter", resource=shared.replace("agent-token", "other")))


def test_both_functions_have_the_policies_that_the_operator_adds_and_nobody_else() -> None:
    arn = "arn:aws:iam::123456789012:policy/deny-other-regions"
    stack = deployed({"FunctionManagedPolicies": arn})
    of_role = {name: one["Properties"].get("ManagedPolicyArns") for name, one in stack.resources.items()}
    assert {name for name, arns in of_role.items() if arns and arn in arns} == {DISPATCHER, TRACKER}


@pytest.mark.parametrize("role", ROLES)
def test_nothing_can_be_taken_out_of_a_role_unnoticed(role: str) -> None:
    documents = STACK.policies(role)
    as_it_is = list(verdicts(documents, role))
    survivors = [name for name, mutant in mutants(documents) if all(map(eq, verdicts(mutant, role), as_it_is))]
    assert survivors == []
