"""`agent-stack migrate`, as a team runs it that comes from the Elastic CI Stack."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from agent_stack.adapters.ssm.class_document import ClassDocument
from agent_stack_cli.migration.table import ROWS
from agent_stack_cli.parameter_rules import problems, read_file
from infra.user_data import ROOT
from tests.cli.migrations import TOKEN, run
from tests.cli.served import Served
from tests.infra.stacks import deployed

pytestmark = pytest.mark.share(10)

FIXTURE = Path(__file__).parents[1] / "fixtures" / "elastic_ci_stack.json"
"""A parameter file with 37 values of its own, and one parameter of an older version."""


def written(given: dict[str, str], directory: Path) -> str:
    """Everything that the verb says and writes, both ways."""
    source = directory / "parameters.json"
    source.write_text(json.dumps(given))
    said = ""
    for more in ((), ("--json",)):
        result = run(str(source), "-o", str(directory / "out"), "--force", *more)
        assert result.exit_code == 0, result.output
        said += result.output
    return said + "".join(path.read_text() for path in (directory / "out").iterdir())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The directory of a migration of the fixture."""
    result = run(str(FIXTURE), "--output", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    return tmp_path / "out"


def test_a_realistic_file_becomes_parameters_that_can_be_deployed(out: Path) -> None:
    assert len(json.loads(FIXTURE.read_text())) >= 25
    given = read_file((out / "linux.parameters").read_text())
    assert given == {
        "AgentTokenParameter": "/buildkite/acme/agent-token",
        "Queues": "linux",
        "StackKey": "linux",
        "AgentTags": "environment=production,docker=enabled",
        "VpcId": "vpc-0a1b2c3d4e5f60718",
        "Subnets": "subnet-0a1b2c3d4e5f60718,subnet-0b1b2c3d4e5f60718,subnet-0c1b2c3d4e5f60718",
        "VmSecurityGroups": "sg-0a1b2c3d4e5f60718",
        "ClassesParameter": "/agent-stack/linux/classes",
        "MaxInstances": "80",
        "JobGraceSeconds": "80",
        "Packages": "git,docker",
        "BootstrapUrl": "s3://acme-buildkite/bootstrap.sh",
        "AgentEnvironment": (
            "BUILDKITE_AGENT_SIGNING_JWKS_KEY_ID=acme-2026,BUILDKITE_S3_DEFAULT_REGION=eu-west-1"
        ),
        "AgentExperiments": "normalised-upload-paths",
        "AgentTracing": "opentelemetry",
        "SigningKeyParameter": "/buildkite/acme/signing-key",
        "EcrLogin": "account",
        "ArtifactBucket": "acme-buildkite-artifacts",
        "JobMetadata": "allowed",
        "InstanceManagedPolicies": (
            "arn:aws:iam::123456789012:policy/acme-ci,arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPowerUser"
        ),
        "LogRetentionDays": "30",
        "CostTags": "team=platform",
    }  # fmt: skip
    assert not list(problems(given, complete=True))
    assert not deployed(given).refused_by()


def test_scripts_deploy_takes_the_file_as_it_is(out: Path) -> None:
    command = [str(ROOT / "scripts" / "deploy"), "agent-stack-linux", "--parameters", str(out / "linux.parameters")]
    done = subprocess.run(
        [*command, "--dry-run", "--region", "eu-central-1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--tags team=platform" in done.stdout
    with (out / "linux.parameters").open("a") as file:
        file.write("MaxInstance=1\n")
    refused = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1  # the check is in force
    assert "did you mean MaxInstances?" in refused.stderr


def test_a_realistic_file_becomes_classes(out: Path) -> None:
    document = ClassDocument.model_validate_json((out / "classes.json").read_text())
    assert list(document.classes) == ["default", "on-demand"]
    default, steady = document.classes["default"], document.classes["on-demand"]
    assert default.instance_types == steady.instance_types == ["m7g.xlarge", "m6g.xlarge", "c7g.2xlarge"]
    assert (default.market, default.fallback_to_on_demand, steady.market) == ("spot", True, "on-demand")
    assert default.volume_gib == 150
    assert "/arm64/" in default.image


def test_the_new_stack_takes_the_classes(served: Served, out: Path) -> None:
    """The reader of the dispatcher and the stack's settings judge them; moto's EC2 does not know every image."""
    found = served.run("classes", "diff", str(out / "classes.json"))
    assert found.exit_code == 0, found.output
    assert "on-demand" in found.stdout


def test_every_value_of_the_file_is_in_the_report_once(out: Path) -> None:
    report = (out / "migration.md").read_text()
    tables = report[report.index("## Carried over") :]
    for entry in json.loads(FIXTURE.read_text()):
        assert tables.count(f"| {entry['ParameterKey']} | `{entry['ParameterValue']}` |") == 1, entry
    for heading in ("Carried over", "Changed in meaning", "Not needed here", "Not possible", "Unknown", "What to do"):
        assert f"\n## {heading}\n" in report
    assert "| SpotPrice | `0.15` | none |" in report


def test_programs_get_the_same(tmp_path: Path) -> None:
    result = run(str(FIXTURE), "-o", str(tmp_path / "out"), "--json")
    seen = json.loads(result.stdout)
    given = [item["name"] for item in seen["items"] if item["given"]]
    assert {*given, "SpotPrice"} == {entry["ParameterKey"] for entry in json.loads(FIXTURE.read_text())}
    assert len(seen["items"]) + seen["untouched"] == len(ROWS)
    assert seen["parameters"] == read_file((tmp_path / "out" / "linux.parameters").read_text())
    assert [Path(path).name for path in seen["files"]] == ["linux.parameters", "classes.json", "migration.md"]


# --- credentials ---


def test_a_plain_token_is_written_nowhere_and_the_place_for_it_is_named(tmp_path: Path) -> None:
    said = written({"BuildkiteAgentToken": TOKEN, "MaxSize": "5"}, tmp_path)
    assert TOKEN not in said
    assert "aws ssm put-parameter --type SecureString --name /buildkite/agent-token" in said
    assert "| BuildkiteAgentToken | `(hidden)` |" in said


@pytest.mark.parametrize("name", [*ROWS, "BuildkiteAgentTokn", "Something"])
def test_a_token_in_any_place_is_written_nowhere(name: str, tmp_path: Path) -> None:
    """Also where another parameter's row reads the value."""
    switches = {"EnableCostAllocationTags": "true", "EnableSecretsPlugin": "true", "MaxSize": "5"}
    said = written({**switches, name: TOKEN}, tmp_path)
    assert TOKEN not in said
    assert "(hidden)" in said


@pytest.mark.parametrize(
    "value",
    [
        "AKIAIOSFODNN7EXAMPLE", "ghp_0123456789abcdefABCDEF", "0123456789abcdef" * 3,
        "https://bot:hunter2secret@git.example/x", "https://b.s3.amazonaws.com/x?X-Amz-Signature=0123",
        "team=bkct_0123456789abcdef",
        "https://git.example/x?access_token=hunter2secret", "https://git.example/x?private_token=hunter2secret",
        "https://git.example/x?password=hunter2", "https://a.blob.example/x?sv=2026&sig=hunter2%3D",
        "https://ghs_0123456789@git.example/x", "https://x0hunter2secret@git.example/x",
        "https://b.s3.amazonaws.com/x?AWSAccessKeyId=A&Signature=hunter2", "Bearer hunter2secret",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJqb2IifQ.c2lnbmF0dXJl", "team=" + "0123456789abcdef" * 3,
        " " + "0123456789abcdef" * 3 + " ", "bot:" + "0123456789abcdef" * 3, "API_KEY=hunter2secret",
        "a=b,DB_PASSWD=hunter2",
    ],
)  # fmt: skip
def test_other_credentials_are_known(value: str, tmp_path: Path) -> None:
    said = written({"BootstrapScriptUrl": value, "MaxSize": "5"}, tmp_path)
    assert value.strip() not in said
    assert "| BootstrapScriptUrl | `(hidden)` |" in said


@pytest.mark.parametrize(
    "value",
    [
        "https://raw.example/acme/ci/0123456789abcdef0123456789abcdef01234567/bootstrap.sh",
        "https://bot@git.example/x", "https://git.example:8443/a@b", "s3://acme-secrets/token/bootstrap.sh",
    ],
)  # fmt: skip
def test_an_address_without_a_credential_is_carried_over(value: str, tmp_path: Path) -> None:
    assert f"| BootstrapScriptUrl | `{value}` |" in written({"BootstrapScriptUrl": value}, tmp_path)


def test_a_credential_in_place_of_a_name_is_written_nowhere(tmp_path: Path) -> None:
    assert TOKEN not in written({TOKEN: "x", "MaxSize": "5"}, tmp_path)


def test_an_unknown_name_that_says_secret_hides_its_value(tmp_path: Path) -> None:
    said = written({"MyPassword": "hunter2", "MaxSize": "5"}, tmp_path)
    assert "hunter2" not in said
    assert "MyPassword" in said


# --- what is written ---


def test_no_file_is_replaced_without_force(out: Path) -> None:
    (out / "classes.json").write_text("mine")
    (out / "migration.md").unlink()
    result = run(str(FIXTURE), "-o", str(out))
    assert result.exit_code == 1
    assert "classes.json are there already, and nothing was written" in result.stderr
    assert "--force" in result.stderr
    assert (out / "classes.json").read_text() == "mine"
    assert not (out / "migration.md").exists()
    assert run(str(FIXTURE), "-o", str(out), "--force").exit_code == 0
    assert "default" in (out / "classes.json").read_text()


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    result = run(str(FIXTURE), "-o", str(tmp_path / "file" / "out"))
    assert result.exit_code == 1
    assert "the files cannot be written" in result.stderr


def test_the_key_is_the_operators(tmp_path: Path) -> None:
    assert run(str(FIXTURE), "-o", str(tmp_path), "--stack-key", "ci").exit_code == 0
    assert "StackKey=ci\n" in (tmp_path / "ci.parameters").read_text()


@pytest.mark.parametrize("key", ["a b", "x" * 61, "../x"])
def test_a_key_that_is_none_is_refused(key: str, tmp_path: Path) -> None:
    result = run(str(FIXTURE), "-o", str(tmp_path / "out"), "--stack-key", key)
    assert result.exit_code == 1
    assert "StackKey=" in result.stderr
    assert not (tmp_path / "out").exists()


# --- what to run next ---


def options_in(line: str) -> dict[str, str]:
    """The parameters of a scripts/deploy command."""
    return dict(word.split("=", 1) for word in shlex.split(line) if re.match(r"[A-Z]\w*=", word))


def test_no_command_moves_the_old_stacks_queue_at_once(tmp_path: Path) -> None:
    seen = json.loads(run(str(FIXTURE), "-o", str(tmp_path), "--json").stdout)
    deploys = [options_in(line) for line in seen["next"] if "scripts/deploy" in line]
    assert deploys == [{"Queues": "linux-next", "MaxInstances": "2"}] * 2
    share = options_in(seen["share"])
    assert (share["Queues"], share["UnmatchedJobs"]) == ("linux", "ignore")
    assert int(share["MaxInstances"]) < int(seen["parameters"]["MaxInstances"])
    for line in (*seen["next"], seen["share"]):
        assert f"\n{line}\n" in (tmp_path / "migration.md").read_text()


@pytest.mark.parametrize(
    ("given", "queue", "served", "most"),
    [
        ({"MaxSize": "3"}, "default-next", "default", 3),
        ({"MaxSize": "3", "BuildkiteQueue": "a b"}, "default-next", "default", 3),  # it cannot be carried over
        ({"MaxSize": "0", "BuildkiteQueue": "mac"}, "mac-next", "mac", 10),
    ],
)
def test_the_trials_queue_and_the_share_can_be_deployed(
    given: dict[str, str], queue: str, served: str, most: int, tmp_path: Path
) -> None:
    seen = json.loads(run("-", "-o", str(tmp_path), "--json", text=json.dumps(given)).stdout)
    trial, share = options_in(seen["next"][-1]), options_in(seen["share"])
    assert not list(problems({**seen["parameters"], **trial}, complete=True))
    assert (trial["Queues"], share["Queues"], share["MaxInstances"]) == (queue, served, str(most))


def test_the_page_has_the_commands_of_the_report(tmp_path: Path) -> None:
    """Its example is a stack of the queue linux with 40 VMs or more."""
    seen = json.loads(run(str(FIXTURE), "-o", str(tmp_path / "migrated"), "--json").stdout)
    page = (ROOT / "docs" / "tasks" / "migrate-from-elastic-ci-stack.md").read_text()
    for line in (*(line for line in seen["next"] if "--dry-run" not in line), seen["share"]):
        as_there = line.replace(f"{tmp_path}/", "")
        assert f"\n{as_there}\n" in page.replace("scripts/agent-stack ", "agent-stack ")
