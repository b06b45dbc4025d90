"""The roles allow what the calls need that the code makes, and nothing else."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from infra import user_data
from tests.infra.required_actions import OF_THE_BOOT_PROGRAM, OF_THE_CODE, needed_by
from tests.infra.stacks import EVERYTHING, deployed

FUNCTIONS = user_data.ROOT / "functions"
CLIENT = re.compile(r"client(\(\))?$")


def trees() -> Iterator[ast.AST]:
    for path in sorted(FUNCTIONS.rglob("*.py")):
        yield ast.parse(path.read_text(), filename=str(path))


def clients() -> set[str]:
    """Services that the code makes clients of."""
    return {
        str(ast.literal_eval(node.args[0]))
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "create_client"
        and node.args
    }


def methods() -> set[str]:
    """Methods that the code takes from something called a client."""
    return {
        node.attr
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and CLIENT.search(ast.unparse(node.value))
    }


def operations(service: str) -> set[str]:
    model = botocore.session.get_session().get_service_model(service)
    return {xform_name(operation) for operation in model.operation_names}


def test_every_call_of_the_code_is_listed_and_every_listed_one_is_made() -> None:
    assert clients() == {"dynamodb", "ec2", "sqs", "ssm"}
    made = {f"{service}.{name}" for service in clients() for name in operations(service) & methods()}
    assert made == set(OF_THE_CODE)


def test_every_call_of_the_boot_program_is_listed_and_every_listed_one_is_made() -> None:
    program = "".join(path.read_text() for path in sorted(Path(user_data.VM).rglob("*.sh")))
    wrapped = re.findall(r"\b(dynamodb|logs) ([A-Z][A-Za-z]+) ", program)
    direct = re.findall(r"\baws (\w+) [A-Za-z0-9_]+\.([A-Z][A-Za-z]+)", program)
    made = {f"{service}.{operation}" for service, operation in (*wrapped, *direct)}
    if "endpoint[s3]" in program:
        made.add("s3.GetObject")
    assert made == set(OF_THE_BOOT_PROGRAM)
    assert set(re.findall(r"\baws (\w+) [\"A-Z]", program)) == {name.partition(".")[0] for name in made} - {"s3"}


@pytest.mark.parametrize("role", ["DispatcherRole", "TrackerRole", "InstanceRole", "JobRole", "SchedulerRole"])
def test_a_role_allows_the_actions_that_are_needed_and_no_other(role: str) -> None:
    allowed = {
        action
        for document in (*deployed(EVERYTHING).policies(role), *_in_secrets_manager(role))
        for statement in document["Statement"]
        if statement["Effect"] == "Allow"
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    assert allowed == needed_by(role)


def _in_secrets_manager(role: str) -> Sequence[Mapping[str, Any]]:
    """Secrets of pipelines are in the one place or in the other."""
    path = {"JobSecretsPath": "/aws/reference/secretsmanager/ci/pipelines"}
    return deployed({**EVERYTHING, **path}).policies(role) if role == "JobRole" else ()
