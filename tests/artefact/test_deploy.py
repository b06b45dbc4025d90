"""scripts/deploy: real bash, with a SAM CLI and an AWS CLI that only write down what they are asked."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.user_data import ROOT
from tests.simulator.deployment import translated_template

pytestmark = pytest.mark.share(4)

STUB = """#!/usr/bin/env python3
import json, os, sys
answers = json.loads(os.environ["ANSWERS"])
name = os.path.basename(sys.argv[0])
with open(os.environ["ASKED"], "a") as asked:
    asked.write(json.dumps([name, *sys.argv[1:]]) + "\\n")
key = " ".join([name, *sys.argv[1:3]])
status, text = answers.get(key, [0, ""])
print(text, file=sys.stderr if status else sys.stdout)
raise SystemExit(status)
"""

GONE = [254, "An error occurred (ValidationError): Stack with id ci does not exist"]
NEW: Mapping[str, Any] = {
    "aws configure get": [0, "eu-central-1"],
    "aws sts get-caller-identity": [0, "arn:aws:sts::123456789012:assumed-role/admin/me"],
    "aws cloudformation describe-stacks": GONE,
    "aws ssm get-parameter": [0, "SecureString"],
}
THERE = {**NEW, "aws cloudformation describe-stacks": [0, "UPDATE_COMPLETE\t/team/token"]}
PARAMETERS = ("AgentTokenParameter=/buildkite/agent-token", "StackKey=ci")


class Desk:
    """A machine with stubs on its path."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.asked_file = directory / "asked"
        self.bin = directory / "bin"
        self.bin.mkdir()
        for name in ("sam", "aws"):
            (self.bin / name).write_text(STUB)
            (self.bin / name).chmod(0o755)

    def deploy(self, *arguments: str, answers: Mapping[str, Any] = NEW) -> "subprocess.CompletedProcess[str]":
        environment = {
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "ANSWERS": json.dumps(answers),
            "ASKED": str(self.asked_file),
        }
        command = [str(ROOT / "scripts" / "deploy"), *arguments]
        return subprocess.run(
            command, env=environment, cwd=self.directory, capture_output=True, text=True, check=False, timeout=60
        )

    @property
    def asked(self) -> list[list[str]]:
        lines = self.asked_file.read_text().splitlines() if self.asked_file.exists() else []
        return [json.loads(line) for line in lines]

    @property
    def deployed(self) -> bool:
        return ["sam", "deploy"] in [asked[:2] for asked in self.asked]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_dry_run_prints_every_command_and_runs_none(desk: Desk) -> None:
    done = desk.deploy("ci", "--dry-run", "--region", "us-east-1", *PARAMETERS)
    assert done.returncode == 0
    assert desk.asked == []
    printed = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("+ ")]
    assert [line.split()[1:3] for line in printed] == [
        ["aws", "sts"],
        ["aws", "cloudformation"],
        ["aws", "ssm"],
        ["sam", "validate"],
        ["sam", "build"],
        ["sam", "deploy"],
    ]


def test_what_it_needs_is_looked_at_before_anything_is_built(desk: Desk) -> None:
    done = desk.deploy("ci", *PARAMETERS)
    assert done.returncode == 0, done.stderr
    assert [" ".join(asked[:3]) for asked in desk.asked[:4]] == list(NEW)
    assert [" ".join(asked[:2]) for asked in desk.asked[4:]] == ["sam validate", "sam build", "sam deploy"]
    assert "as arn:aws:sts::123456789012:assumed-role/admin/me" in done.stdout
    assert "+ sam build" in done.stdout


def test_parameters_reach_the_sam_cli_whole(desk: Desk) -> None:
    """It cuts a value at its first space unless that stands in quotes."""
    (desk.directory / "mine").write_text("# of the team\n\nAgentTags=os=linux, size=l\nLogLevel=DEBUG\nVpcId=\n")
    done = desk.deploy("ci", "--parameters", "mine", "--yes", "LogLevel=INFO", *PARAMETERS)
    assert done.returncode == 0, done.stderr
    deploy = desk.asked[-1]
    assert "--no-confirm-changeset" in deploy
    assert deploy[deploy.index("--parameter-overrides") + 1 :] == [
        'AgentTags="os=linux, size=l"',
        'LogLevel="DEBUG"',
        'VpcId=""',
        'LogLevel="INFO"',
        'AgentTokenParameter="/buildkite/agent-token"',
        'StackKey="ci"',
    ]


def test_the_parameter_file_of_the_documentation_deploys(desk: Desk) -> None:
    page = (ROOT / "docs" / "getting-started.md").read_text()
    (block,) = re.findall(r"```\n(# ci\.parameters\n.*?)```", page, re.DOTALL)
    (desk.directory / "ci.parameters").write_text(block)
    done = desk.deploy("ci", "--parameters", "ci.parameters")
    assert done.returncode == 0, done.stderr
    given = {override.partition("=")[0] for override in desk.asked[-1] if override.endswith('"')}
    declared = translated_template(region="eu-central-1")["Parameters"]
    without_default = {name for name, parameter in declared.items() if "Default" not in parameter}
    assert without_default <= given <= set(declared)


def test_an_upgrade_needs_no_parameter_and_checks_the_token_that_is_in_use(desk: Desk) -> None:
    done = desk.deploy("ci", answers=THERE)
    assert done.returncode == 0, done.stderr
    (asked,) = (asked for asked in desk.asked if asked[1] == "ssm")
    assert asked[asked.index("--name") + 1] == "/team/token"
    assert "--parameter-overrides" not in desk.asked[-1]


@pytest.mark.parametrize(
    ("arguments", "changed", "message"),
    [
        ((), {}, "name the CloudFormation stack"),
        (("my_stack",), {}, "is no name for a stack"),
        (("ci", "--force"), {}, "there is no option --force"),
        (("ci", "--parameters", "nowhere"), {}, "nowhere cannot be read"),
        (("ci",), {"aws configure get": [1, ""]}, "no region. Name it"),
        (("ci",), {"aws sts get-caller-identity": [253, "Unable to locate credentials"]}, "Log in"),
        (("ci", "StackKey=ci"), {}, "a new stack needs AgentTokenParameter"),
        (("ci", "AgentTokenParameter=/t"), {}, "a new stack needs StackKey"),
        (
            ("ci", *PARAMETERS),
            {"aws ssm get-parameter": [254, "ParameterNotFound"]},
            "aws ssm put-parameter --type SecureString --name /buildkite/agent-token",
        ),
        (("ci", *PARAMETERS), {"aws ssm get-parameter": [0, "String"]}, "Store the token as a SecureString"),
        (("ci",), {"aws cloudformation describe-stacks": [0, "ROLLBACK_COMPLETE\t/t"]}, "was never made"),
        (
            ("ci",),
            {"aws cloudformation describe-stacks": [0, "UPDATE_IN_PROGRESS\t/t"]},
            "Next: aws cloudformation wait stack-update-complete",
        ),
        (("ci",), {"aws cloudformation describe-stacks": [254, "AccessDenied"]}, "AccessDenied"),
    ],
)
def test_what_is_missing_is_said_with_its_remedy_and_nothing_is_deployed(
    desk: Desk, arguments: tuple[str, ...], changed: Mapping[str, Any], message: str
) -> None:
    done = desk.deploy(*arguments, answers={**NEW, **changed})
    assert done.returncode == 1
    assert message in done.stderr
    assert "Not deployed: " in done.stderr
    assert not desk.deployed


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("MaxInstance=5", "did you mean MaxInstances?"),
        ("maxinstances=5", "did you mean MaxInstances?"),
        ("LogLevel=INF", "did you mean INFO?"),
        ("MaxInstances=0", "the nearest is 1"),
        ("MaxInstances=many", "a whole number from 1 to 100000"),
        ("Queues=linux,a b", "'a b'"),
        ("CostTags=team", "key=value, separated by commas"),
        ("CostTags=team=ci,aws:billing=x", "'aws:billing=x'"),
        ("CostTags=team=ci, cost=1, team=web", "these keys are given twice: team; give each once"),
        (f"CostTags={','.join(f'k{number}=v' for number in range(41))}", "there are 41 tags; EC2 leaves room for 40"),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["for real", "dry run"])
def test_a_wrong_parameter_is_refused_before_anything_is_asked_or_built(
    desk: Desk, given: str, words: str, dry: tuple[str, ...]
) -> None:
    done = desk.deploy("ci", *PARAMETERS, given, *dry)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Next: " in done.stderr
    assert desk.asked == []


@pytest.mark.parametrize(
    ("given", "deployed", "tags"),
    [
        (("CostTags=team=ci, cost-center=42",), "", ["team=ci", "cost-center=42"]),
        ((), "team=ci,cost-center=42", ["team=ci", "cost-center=42"]),
        (("CostTags=team=web",), "team=ci", ["team=web"]),
        (("CostTags=",), "team=ci", []),
        ((), "None", []),
        ((), "", []),
    ],
)
def test_the_stacks_own_tags_are_those_of_the_vms_and_stay_until_they_are_changed(
    desk: Desk, given: tuple[str, ...], deployed: str, tags: list[str]
) -> None:
    """CloudFormation puts them on every resource, and takes them away at a change that does not name them."""
    there = {**THERE, "aws cloudformation describe-stacks": [0, f"UPDATE_COMPLETE\t/team/token\t{deployed}"]}
    done = desk.deploy("ci", *given, answers=there)
    assert done.returncode == 0, done.stderr
    deploy = desk.asked[-1]
    found = []
    if "--tags" in deploy:
        rest = deploy[deploy.index("--tags") + 1 :]
        found = rest[: next((n for n, word in enumerate(rest) if word.startswith("--")), len(rest))]
    assert found == tags


@pytest.mark.parametrize("state", ["ROLLBACK_COMPLETE", "UPDATE_IN_PROGRESS"])
def test_the_command_that_helps_is_for_the_same_region(desk: Desk, state: str) -> None:
    there = {**NEW, "aws cloudformation describe-stacks": [0, f"{state}\t/t"]}
    done = desk.deploy("ci", "--region", "us-east-1", answers=there)
    assert "--stack-name ci --region us-east-1" in done.stderr


def test_a_line_that_is_no_parameter_is_named(desk: Desk) -> None:
    (desk.directory / "mine").write_text("StackKey ci\n")
    done = desk.deploy("ci", "--parameters", "mine")
    assert "the line 'StackKey ci'" in done.stderr
    assert not desk.deployed


def test_a_build_that_fails_deploys_nothing(desk: Desk) -> None:
    done = desk.deploy("ci", *PARAMETERS, answers={**NEW, "sam build": [1, "boom"]})
    assert done.returncode == 1
    assert not desk.deployed
