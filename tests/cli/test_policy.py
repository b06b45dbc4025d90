"""The printed policies: each verb of every test here is judged by its own; and what no policy may allow."""

import json
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from typer.main import get_command

from agent_stack_cli.app import app
from agent_stack_cli.parameter_rules import specification
from agent_stack_cli.policy import Kind, document
from tests.cli.conftest import CLASSES, stack_of
from tests.cli.served import NEEDS, Served, kind_for
from tests.simulator.iam import Asked, Policies, asked_of_dynamodb
from tests.simulator.world import TOKEN_PARAMETER

pytestmark = pytest.mark.share(8)

PARAMETER = "arn:aws:ssm:eu-central-1:123456789012:parameter"
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
    "pause": (), "resume": (), "drain": (), "params": (), "policy": ("read",), "cost": (), "oidc": (), "images": (),
    "classes validate": (), "classes diff": ("FILE",), "classes push": ("FILE",), "classes explain": (),
}  # fmt: skip


def test_every_verb_is_called_here() -> None:
    """But two: `migrate` reads another stack when it gets no file, `simulate` reads what `params` and `cost` do."""
    assert {*COMMANDS, "migrate", "simulate"} == set(verbs())


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
    written = before.replace("ami-0123456789abcdef0", "resolve:ssm:/agent-stack/images/ci", 1)
    ssm.put_parameter(Name=name, Value=written, Overwrite=True)
    try:
        known = policies(served, "read")
    finally:
        ssm.put_parameter(Name=name, Value=before, Overwrite=True)
    for resource, allowed in (
        ("arn:aws:ssm:eu-central-1::parameter/aws/service/ami-amazon-linux-latest/al2023", True),
        ("arn:aws:ssm:eu-central-1:123456789012:parameter/agent-stack/images/ci", True),
        ("arn:aws:ssm:eu-central-1:123456789012:parameter/buildkite/agent-token", False),
    ):
        assert known.allow(Asked(action="ssm:GetParameter", resource=resource)) is allowed, resource
    assert known.allow(Asked(action="ssm:DescribeParameters", resource="*"))


def reads(known: Policies, name: str) -> bool:
    return known.allow(Asked(action="ssm:GetParameter", resource=f"{PARAMETER}/{name.removeprefix('/')}"))


def test_whoever_writes_classes_cannot_make_readers_of_secrets(served: Served) -> None:
    """A class document is not trusted: who may write it is nobody who may read the agent token."""
    written = json.loads(CLASSES)
    written["classes"]["default"]["agent_tags"] = ["image=resolve:ssm:/agent-stack/images/in-a-tag"]
    written["classes"]["large"]["image"] = f"resolve:ssm:{TOKEN_PARAMETER}"
    written["classes"]["labelled"] = {"image": f"resolve:ssm:{TOKEN_PARAMETER}:1"}
    written["classes"]["own"] = {"image": "resolve:ssm:/agent-stack/images/ci:3"}
    written["classes"]["strange"] = {"image": "resolve:ssm:/agent-stack/images/*"}
    written["note"] = "resolve:ssm:/agent-stack/images/in-a-note"
    ssm = served.world._client("ssm")
    ssm.put_parameter(Name="/classes", Value=json.dumps(written), Overwrite=True)
    try:
        known = policies(served, "read")
    finally:
        ssm.put_parameter(Name="/classes", Value=CLASSES, Overwrite=True)
    assert reads(known, "/agent-stack/images/ci")
    assert not reads(known, "/agent-stack/images/x")
    nowhere = [f"/agent-stack/images/in-a-{part}" for part in ("tag", "note")]
    for name in (TOKEN_PARAMETER, f"{TOKEN_PARAMETER}:1", *nowhere):
        assert not reads(known, name), name


def test_readers_get_no_image_parameter_that_the_dispatcher_itself_may_not_read(served: Served) -> None:
    """Else whoever writes classes chooses what readers may read."""
    names = ["/agent-stack/images/ci", "agent-stack/images/bare", "/images/ci", "/prod/database-password"]
    names += ["/agent-stack/images", "/agent-stack/imagesque/ci", "/elsewhere/agent-stack/images/ci"]
    dispatcher = Policies(served.world.deployed.function_policies["dispatcher"])
    known = Policies([document(stack_of(served.world.deployed), "read", images=names)])
    read = [name for name in names if reads(known, name)]
    assert read == [name for name in names if reads(dispatcher, name)]
    assert read == names[:2]


@pytest.mark.parametrize(
    ("more", "read"), [("/acme/ami-*", ["/acme/ami-1", "acme/ami-2"]), ("/acme/ami-1", ["/acme/ami-1"])]
)
def test_readers_get_the_image_parameters_that_the_operator_adds(served: Served, more: str, read: list[str]) -> None:
    names = ["/acme/ami-1", "acme/ami-2", "/acme/token", "/acme/ami-secret"]
    shared = "arn:aws:ssm:eu-central-1:123456789012:parameter/acme/ami-secret"
    stack = stack_of(served.world.deployed, ImageParameters=more, GitSshKeyParameter=shared)
    known = Policies([document(stack, "read", images=names)])
    assert [name for name in names if reads(known, name)] == read


def test_no_parameter_that_the_stack_keeps_a_secret_in_is_an_image(served: Served) -> None:
    """By the template's names, so that the next secret parameter is among them."""
    template = specification()
    secrets = {name: f"/agent-stack/images/secrets/{name}" for name in template if name.endswith("Parameter")} | {
        "GitSshKeyParameter": "/agent-stack/images/ssh/{queue}/key"
    }
    del secrets["ClassesParameter"]
    assert {"AgentTokenParameter", "GitCredentialsParameter", "SigningKeyParameter"} <= set(secrets)
    stack = stack_of(served.world.deployed, **secrets)
    named = [value.replace("{queue}", "linux.arm") for value in secrets.values()]
    named += ["agent-stack/images/ssh/linux/key", TOKEN_PARAMETER]
    for kind in get_args(Kind):
        known = Policies([document(stack, kind, images=[*named, "/agent-stack/images/ci"])])
        assert reads(known, "/agent-stack/images/ci")
        assert not [name for name in named if reads(known, name)]
