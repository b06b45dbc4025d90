"""The printed policies: each verb of every test here is judged by its own; and what no policy may allow."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from typer.main import get_command

from agent_stack_cli.app import app
from agent_stack_cli.policy import Kind
from tests.cli.conftest import CLASSES
from tests.cli.served import NEEDS, Served, kind_for
from tests.simulator.iam import Asked, Policies, asked_of_dynamodb

SESSION = "arn:aws:ssm:eu-central-1:123456789012:session"


def policies(served: Served, kind: Kind) -> Policies:
    return Policies([served.data("policy", kind)])


def statements(served: Served, kind: Kind) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = served.data("policy", kind)["Statement"]
    return found


def verbs() -> Iterator[str]:
    group = get_command(app).commands  # type: ignore[attr-defined]  # a group of commands
    for name, command in group.items():
        yield from (f"{name} {sub}" for sub in getattr(command, "commands", {})) if name == "classes" else (name,)


COMMANDS = {
    "stacks": (), "status": (), "doctor": (), "job": ("JOB",), "logs": ("JOB",), "connect": ("JOB", "--print"),
    "pause": (), "resume": (), "drain": (), "params": (), "policy": ("read",), "cost": (), "oidc": (),
    "classes validate": (), "classes diff": ("FILE",), "classes push": ("FILE",), "classes explain": (),
}  # fmt: skip


def test_every_verb_is_called_here() -> None:
    """But one: `migrate` looks at another stack, and only when it is given no file."""
    assert {*COMMANDS, "migrate"} == set(verbs())


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_verb_makes_calls_and_its_printed_policy_allows_them_all(served: Served, verb: str, tmp_path: Any) -> None:  # noqa: ANN401  (a path)
    run = served.bound(served.recorded(1), served.launched())
    served.log("dispatcher", "job_bound", job_id=run.job_id)
    served.runs(run.binding.instance_id)  # type: ignore[union-attr]  # it is bound
    name = served.world.deployed.environments["dispatcher"]["CLASSES_PARAMETER"]
    before = served.world._client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    file = tmp_path / "classes.json"
    file.write_text(before + "\n")
    words = [{"JOB": run.job_id, "FILE": str(file)}.get(word, word) for word in COMMANDS[verb]]
    if verb == "drain":
        served.world.ec2.powered_off(run.binding.instance_id)  # type: ignore[union-attr]  # as above
    try:
        served.front.asked.clear()
        result = served.run(*verb.split(), *words)
    finally:
        served.world._client("ssm").put_parameter(Name=name, Value=before, Overwrite=True)
    assert "not allowed" not in result.output
    assert "not authorized" not in result.output
    assert result.exit_code == (1 if verb == "doctor" else 0), result.output
    assert served.front.asked


def test_what_only_operate_or_classes_allow_is_refused_to_readers(served: Served, tmp_path: Any) -> None:  # noqa: ANN401  (as above)
    file = tmp_path / "classes.json"
    file.write_text(CLASSES + "\n")
    reader = {"AWS_ACCESS_KEY_ID": "OPERATORREAD"}
    for words in (("pause",), ("resume",), ("classes", "push", str(file))):
        assert kind_for(words) != "read"
        result = served.run(*words, env=reader)
        assert (result.exit_code, "is not allowed" in result.stderr) == (1, True), result.output
    assert set(NEEDS.values()) | {"read"} == set(get_args(Kind))


def test_no_policy_lets_anybody_read_a_credential(served: Served) -> None:
    table, prefix = served.world.deployed.mailbox_table, "arn:aws:dynamodb:eu-central-1:123456789012:table/"
    key = {"TableName": table, "Key": {"instance_arn": {"S": "x"}}}

    def asked(action: str, **options: str) -> Asked:
        return asked_of_dynamodb(action, {**key, **options}, table_arn_prefix=prefix, key="instance_arn")

    nameless = Asked(action="dynamodb:GetItem", resource=f"{prefix}{table}", context={})
    for kind in get_args(Kind):
        known = policies(served, kind)
        assert known.allow(asked("GetItem", ProjectionExpression="stage, detail"))
        assert not known.allow(asked("GetItem", ProjectionExpression="stage, credential"))
        assert not known.allow(asked("GetItem"))
        assert not known.allow(nameless)
        assert not known.allow(asked("Scan", ProjectionExpression="stage"))
        assert len({s["Sid"] for s in statements(served, kind)}) == len(statements(served, kind))


def test_only_operate_writes_and_only_the_leases(served: Served) -> None:
    def writes(kind: Kind) -> list[str]:
        actions = [a for s in statements(served, kind) for a in s["Action"]]
        return [
            a for a in actions if a.partition(":")[2].startswith(("Put", "Update", "Delete", "Create", "Terminate"))
        ]

    assert writes("read") == []
    assert writes("operate") == ["dynamodb:UpdateItem"]
    assert set(writes("classes")) == {"ssm:PutParameter", "ssm:TerminateSession"}
    (pauses,) = [s for s in statements(served, "operate") if s["Sid"] == "PauseAndResume"]
    assert pauses["Condition"]["ForAllValues:StringEquals"] == {"dynamodb:LeadingKeys": ["lease"]}


def test_a_role_and_a_user_may_each_end_their_own_sessions_and_nobody_elses(served: Served) -> None:
    known = policies(served, "classes")
    role = {"aws:userid": ["AROAEXAMPLE:alice"]}
    user = {"aws:userid": ["AIDAEXAMPLE"], "aws:username": ["alice"]}
    for name, context, allowed in (
        ("AROAEXAMPLE:alice-0123", role, True),
        ("alice-0123", user, True),
        ("bob-0123", user, False),
        ("bob-0123", role, False),
    ):
        asked = Asked(action="ssm:TerminateSession", resource=f"{SESSION}/{name}", context=context)
        assert known.allow(asked) is allowed, name


def test_images_by_parameter_are_read_aws_own_and_those_that_classes_name(served: Served) -> None:
    name = served.world.deployed.environments["dispatcher"]["CLASSES_PARAMETER"]
    before = served.world._client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    ssm = served.world._client("ssm")
    ssm.put_parameter(
        Name=name, Value=before.replace("ami-0123456789abcdef0", "resolve:ssm:/images/ci", 1), Overwrite=True
    )
    try:
        known = policies(served, "read")
    finally:
        ssm.put_parameter(Name=name, Value=before, Overwrite=True)
    for resource, allowed in (
        ("arn:aws:ssm:eu-central-1::parameter/aws/service/ami-amazon-linux-latest/al2023", True),
        ("arn:aws:ssm:eu-central-1:123456789012:parameter/images/ci", True),
        ("arn:aws:ssm:eu-central-1:123456789012:parameter/buildkite/agent-token", False),
    ):
        assert known.allow(Asked(action="ssm:GetParameter", resource=resource)) is allowed, resource
    assert known.allow(Asked(action="ssm:DescribeParameters", resource="*"))
