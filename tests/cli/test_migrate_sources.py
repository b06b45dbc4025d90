"""What `agent-stack migrate` reads: the files that people keep these parameters in, and the live stack."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent_stack_cli.parameter_rules import problems, read_file
from tests.cli.migrations import EXAMPLE, TOKEN, run
from tests.cli.operator_front import MASKED
from tests.cli.served import Served

GIVEN = {
    "BuildkiteQueue": "linux",
    "MaxSize": "7",
    "Subnets": "subnet-0a1b2c3d,subnet-0b1b2c3d",
    "VpcId": "vpc-0a1b2c3d",
}
PAIRS = [{"ParameterKey": name, "ParameterValue": value} for name, value in GIVEN.items()]
THEIR_TEMPLATE = Path(__file__).parents[1] / "fixtures" / "elastic_ci_stack_template.json"
TEMPLATE = {"MaxSize": {"Type": "Number", "Default": 10}}
WITH_A_LIST = {**GIVEN, "Subnets": GIVEN["Subnets"].split(","), "MaxSize": 7}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(PAIRS),
        yaml.safe_dump(PAIRS),
        json.dumps([f"{name}={value}" for name, value in GIVEN.items()]),
        json.dumps(WITH_A_LIST),
        yaml.safe_dump(WITH_A_LIST),
        json.dumps({"Parameters": GIVEN, "Tags": {"team": "ci"}}),
        yaml.safe_dump({"StackName": "x", "Parameters": PAIRS}),
        json.dumps({"Stacks": [{"StackName": "buildkite", "Parameters": PAIRS}]}),
        yaml.safe_dump({"Stacks": [{"StackName": "buildkite", "Parameters": PAIRS}]}),
    ],
)
def test_each_form_is_read_alike(text: str, tmp_path: Path) -> None:
    result = run("-", "-o", str(tmp_path), "--json", text=text)
    assert result.exit_code == 0, result.output
    seen = json.loads(result.stdout)
    assert {item["name"]: item["value"] for item in seen["items"] if item["given"]} == GIVEN
    assert seen["stack"] == ("buildkite" if "buildkite" in text else "x" if "StackName" in text else "")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_is_read_as_an_editor_or_a_shell_wrote_it(encoding: str, tmp_path: Path) -> None:
    mark = "\ufeff" if encoding.endswith("e") else ""
    text = json.dumps([*PAIRS, {"ParameterKey": "ImageId", "ParameterValue": None}], indent=1).replace("\n", "\r\n")
    file = tmp_path / "stack.json"
    file.write_bytes((mark + text).encode(encoding))
    result = run(str(file), "-o", str(tmp_path), "--json")
    assert result.exit_code == 0, result.output
    assert {item["name"]: item["value"] for item in json.loads(result.stdout)["items"] if item["given"]} == GIVEN


def test_what_is_no_text_is_refused_also_where_it_is_piped(tmp_path: Path) -> None:
    file = tmp_path / "stack.json"
    file.write_bytes(b'{"MaxSize": "\xe9"}')
    for result in (run(str(file)), run("-", text=file.read_bytes())):
        assert (result.exit_code, type(result.exception)) == (1, SystemExit)
        assert "cannot be read: it is no text in UTF-8 (byte 14)" in result.stderr
        assert "\nNext: " in result.stderr


def test_a_number_stays_the_text_that_the_file_has(tmp_path: Path) -> None:
    result = run("-", "-o", str(tmp_path), "--json", text=f'{{"MaxSize": {"9" * 5_000}, "MinSize": 1.50}}')
    assert result.exit_code == 0, result.output
    values = {item["name"]: item["value"] for item in json.loads(result.stdout)["items"]}
    assert values["MinSize"] == "1.50"


@pytest.mark.parametrize("length", [19, 20, 45, 78])
def test_the_stacks_key_leaves_room_for_the_queues(length: int, tmp_path: Path) -> None:
    assert run("-", "-o", str(tmp_path), text=json.dumps({"BuildkiteQueue": "q" * length})).exit_code == 0
    (written,) = tmp_path.glob("*.parameters")
    given = read_file(written.read_text())
    assert given["Queues"] == "q" * length
    assert not list(problems(given))
    assert len(given["StackKey"]) == min(length, 79 - length)


def test_a_key_that_leaves_no_room_for_the_queues_is_refused(tmp_path: Path) -> None:
    result = run(
        "-", "-o", str(tmp_path / "out"), "--stack-key", "s" * 60, text='{"BuildkiteQueue": "qqqqqqqqqqqqqqqqqqqq"}'
    )
    assert result.exit_code == 1
    assert "it is longer than 80 characters; shorten it" in result.stderr
    assert not (tmp_path / "out").exists()


def test_yaml_keeps_values_as_cloudformation_gets_them(tmp_path: Path) -> None:
    result = run(
        "-", "-o", str(tmp_path), "--json", text="MaxSize: 010\nBuildkiteQueue: on\nEnableSecretsPlugin: false\n"
    )
    values = {item["name"]: item["value"] for item in json.loads(result.stdout)["items"]}
    assert (values["MaxSize"], values["BuildkiteQueue"]) == ("010", "on")
    assert values["EnableSecretsPlugin"] == "false"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "neither JSON nor YAML (line 1)"),
        (f"a: [{TOKEN}", "neither JSON nor YAML"),
        ("", "holds no parameters"),
        ("[]", "holds no parameters"),
        ("[1, 2]", "holds no parameters"),
        ("hello", "holds no parameters"),
        (json.dumps({"AgentTokenParameter": "x", "StackKey": "ci"}), "no parameter is one of the Elastic CI Stack's"),
        ("[" * 100_000, "nested too deeply"),
        (json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Parameters": TEMPLATE}), "is a template"),
        (yaml.safe_dump({"Parameters": TEMPLATE, "Resources": {}}) + "Outputs: !Ref MaxSize", "is a template"),
        (json.dumps({"TemplateBody": {"Parameters": TEMPLATE}}), "is a template"),
        (json.dumps({"Parameters": TEMPLATE}), "is a template"),
        (json.dumps({"Parameters": [{"ParameterKey": "MaxSize", "ParameterType": "Number"}]}), "is a template"),
        (json.dumps(TEMPLATE), "is a template"),
        (json.dumps({"Stacks": []}), "holds 0 stacks"),
        (json.dumps({"Stacks": [{"Parameters": PAIRS}] * 2}), "holds 2 stacks"),
        (json.dumps([*PAIRS, {"ParameterKey": "MaxSize", "ParameterValue": "8"}]), "gives MaxSize two values"),
        ('{"MaxSize": "7", "MaxSize": "8"}', "gives MaxSize two values"),
        ("MaxSize: 7\nMinSize: 1\nMaxSize: 8\n", "gives MaxSize two values"),
        ('{"Parameters": {"MaxSize": "7"}, "Parameters": {"MaxSize": "8"}}', "gives Parameters two values"),
        ('{"MaxSize": {"Ref": "Size"}}', "gives MaxSize a mapping"),
        ('[{"ParameterKey": "MaxSize", "ParameterValue": ["7", {}]}]', "gives MaxSize a mapping"),
        (
            '{\n  // the queue\n  "BuildkiteQueue": "linux"\n}',
            "neither JSON nor YAML (line 2, and JSON takes no comments)",
        ),
        (
            '{"MaxSize": "7",\n  /* the queue */ "BuildkiteQueue": "linux"}',
            "neither JSON nor YAML (line 2, and JSON takes no comments)",
        ),
        ("? [a]\n: b\n", "neither JSON nor YAML"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_remedy(text: str, words: str, tmp_path: Path) -> None:
    result = run("-", "-o", str(tmp_path / "out"), text=text)
    assert result.exit_code == 1
    assert words in result.stderr
    assert "\nNext: " in result.stderr
    assert TOKEN not in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_value_that_the_file_does_not_hold_is_asked_for(tmp_path: Path) -> None:
    pairs = [*PAIRS, {"ParameterKey": "RootVolumeSize", "UsePreviousValue": True}]
    result = run("-", "-o", str(tmp_path), text=json.dumps(pairs))
    assert "RootVolumeSize" in result.stdout
    assert "--from-stack NAME" in result.stdout
    assert "The class and the parameters were made without it" in result.stdout.replace("\n", " ")
    assert "volume_gib" not in (tmp_path / "classes.json").read_text()


def test_an_unknown_parameter_is_reported_with_the_nearest_name(tmp_path: Path) -> None:
    result = run(
        "-", "-o", str(tmp_path), text=json.dumps({**GIVEN, "InstanceType": "c5.large", "EvilName\x1b[2J": "x"})
    )
    assert "InstanceType\n    Did you mean InstanceTypes?" in result.stdout
    assert "\x1b" not in result.stdout + (tmp_path / "migration.md").read_text()


@pytest.mark.parametrize("words", [(), ("x.json", "--from-stack", "buildkite")])
def test_one_source_is_named(words: tuple[str, ...]) -> None:
    result = run(*words)
    assert result.exit_code == 1
    assert "name one source" in result.stderr


def test_the_live_stack_is_read_by_who_may_only_read(served: Served, tmp_path: Path) -> None:
    create(served, "buildkite", {name: {"Type": "String"} for name in GIVEN}, PAIRS)
    seen = json.loads(served.ok("migrate", "--from-stack", "buildkite", "-o", str(tmp_path), "--json"))
    assert seen["stack"] == "buildkite"
    assert {item["name"]: item["value"] for item in seen["items"] if item["given"]} == GIVEN
    gone = served.run("migrate", "--from-stack", "nosuch")
    assert gone.exit_code == 1
    assert "there is no stack nosuch in eu-central-1" in gone.stderr
    assert "Next: aws cloudformation list-stacks" in gone.stderr


def create(served: Served, name: str, declared: Any, pairs: list[dict[str, str]]) -> None:  # noqa: ANN401  (a template's)
    """A live stack with those parameters, as its owner made it."""
    body = {"Parameters": declared, "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}
    client = served.world._client("cloudformation")
    client.create_stack(StackName=name, TemplateBody=json.dumps(body), Parameters=pairs)


def told(view: dict[str, Any]) -> dict[str, Any]:
    """What comes out of a migration, without the names of files and of the old stack."""
    return {name: view[name] for name in ("parameters", "classes", "items", "untouched", "to_do")}


def test_a_realistic_stack_becomes_the_same_from_its_file_its_description_and_alive(
    served: Served, tmp_path: Path
) -> None:
    """A file has what its owner set; CloudFormation shows all 126, in its own order, with NoEcho values masked."""
    pairs = json.loads(EXAMPLE.read_text())
    declared = json.loads(THEIR_TEMPLATE.read_text())
    assert len(pairs) == 25
    assert all(pair["ParameterValue"] != str(declared[pair["ParameterKey"]]["Default"]) for pair in pairs)
    create(served, "elastic", declared, pairs)
    masked = {name for name, one in declared.items() if one.get("NoEcho")}
    served.front.no_echo |= masked

    file = json.loads(run(str(EXAMPLE), "-o", str(tmp_path / "file"), "--json").stdout)
    live = json.loads(served.ok("migrate", "--from-stack", "elastic", "-o", str(tmp_path / "live"), "--json"))
    given = {pair["ParameterKey"]: pair["ParameterValue"] for pair in pairs}
    shown = [
        {"ParameterKey": name, "ParameterValue": MASKED if name in masked else given.get(name, str(one["Default"]))}
        for name, one in sorted(declared.items())
    ]
    description = json.dumps({"Stacks": [{"StackName": "elastic", "Parameters": shown}]})
    assert masked, "that template masks its token"
    described = json.loads(run("-", "-o", str(tmp_path / "described"), "--json", text=description).stdout)

    assert told(live) == told(described) == told(file)
    assert sum(item["given"] for item in file["items"]) == 25
    assert (live["stack"], described["stack"], file["stack"]) == ("elastic", "elastic", "")


def test_who_may_not_read_the_live_stack_is_told_of_one_right_or_a_file(served: Served) -> None:
    """`policy read` prints rights on a stack of this project, and there is none yet."""
    served.front.denied.add("cloudformation:DescribeStacks")
    refused = served.run("migrate", "--from-stack", "buildkite", "--region", "eu-central-1")
    assert refused.exit_code == 1
    assert "policy read" not in refused.stderr
    next_line = refused.stderr.splitlines()[-1]
    assert "cloudformation:DescribeStacks" in next_line
    assert "aws cloudformation describe-stacks --stack-name buildkite --region eu-central-1 > stack.json" in next_line
    assert "agent-stack migrate stack.json --region eu-central-1" in next_line


def test_the_new_stack_never_has_the_name_of_the_old_one(tmp_path: Path) -> None:
    text = json.dumps({"Stacks": [{"StackName": "agent-stack-linux", "Parameters": PAIRS}]})
    seen = json.loads(run("-", "-o", str(tmp_path), "--json", text=text).stdout)
    assert any("scripts/deploy agent-stack-linux-new --parameters" in line for line in seen["next"])
