"""The command that is named next reaches the same stack, region and account, and is one that can work."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent_stack.domain.holds import Hold, Holds
from agent_stack.domain.identifiers import ClassName
from agent_stack_cli.errors import CliError
from agent_stack_cli.session import Session
from agent_stack_cli.stacks import not_ready
from tests.cli.migrations import run
from tests.cli.served import Served, access_key, job_id

pytestmark = pytest.mark.share(3)

ELSEWHERE = ("--region", "eu-central-1")
KEPT = "--region eu-central-1"


@pytest.fixture
def profile(tmp_path: Path) -> dict[str, str]:
    """A profile `work`, and where the AWS SDK finds it."""
    path = tmp_path / "config"
    keys = {"aws_access_key_id": access_key("operate"), "aws_secret_access_key": "testing"}
    path.write_text("[profile work]\n" + "".join(f"{name} = {value}\n" for name, value in keys.items()))
    return {"AWS_CONFIG_FILE": str(path)}


def test_region_and_profile_are_kept(served: Served, profile: dict[str, str]) -> None:
    words = ("--stack", "demo", *ELSEWHERE, "--profile", "work")
    options = "--stack demo --region eu-central-1 --profile work"
    assert f"Next: agent-stack resume {options}" in served.run("pause", *words, env=profile).stdout
    assert f"Resume: agent-stack resume {options}" in served.run("status", *words, env=profile).stdout
    assert f"Next: agent-stack drain {options}" in served.run("drain", "--minutes", "0", *words, env=profile).stdout
    served.ok("resume")
    run = served.recorded(1)
    assert f"Next: agent-stack status {options}" in served.run("job", run.job_id, *words, env=profile).stdout
    assert (
        f"Next: agent-stack job {run.job_id} {options}" in served.run("connect", run.job_id, *words, env=profile).stderr
    )
    doctor = json.loads(served.run("doctor", "--json", *words, env=profile).stdout)
    (tracker,) = [f for f in doctor if f["check"] == "tracker"]
    assert tracker["remedy"].endswith("--since 10m --region eu-central-1 --profile work")


def test_an_error_of_aws_keeps_them_too(served: Served) -> None:
    served.front.denied.add("dynamodb:Query")
    assert "Next: attach the policy" in served.run("status", *ELSEWHERE).stderr
    served.front.denied.clear()
    served.world.ec2.faults.fail("DescribeInstances", "InvalidParameterValue", times=10)
    result = served.run("drain", "--stack", "demo", *ELSEWHERE)
    assert f"Next: agent-stack doctor --stack demo {KEPT}" in result.stderr


def test_a_shell_is_opened_with_the_profile_that_was_named(served: Served, profile: dict[str, str]) -> None:
    run = served.bound(served.recorded(1), served.launched())
    vm = run.binding.instance_id  # type: ignore[union-attr]  # it is bound
    served.runs(vm)
    result = served.run("connect", run.job_id, "--print", "--profile", "work", env=profile)
    assert result.stdout.strip() == f"aws ssm start-session --target {vm} {KEPT} --profile work"


def test_the_command_for_a_held_vm_keeps_them_too(served: Served, profile: dict[str, str]) -> None:
    vm = served.launched()
    served.runs(vm.instance_id)
    until = datetime.now(UTC) + timedelta(minutes=30)
    hold = Hold(instance_id=vm.instance_id, arn=vm.arn, class_name=ClassName("default"), until=until)
    assert served.ledger.record_holds(Holds(version=1, vms=(hold,)))
    seen = json.loads(served.run("status", "--json", *ELSEWHERE, "--profile", "work", env=profile).stdout)
    wanted = f"aws ssm start-session --target {vm.instance_id} {KEPT} --profile work"
    assert [held["connect"] for held in seen["held"]] == [wanted]


def test_a_document_in_force_that_is_wrong_is_validated_without_a_file(served: Served) -> None:
    ssm = served.world._client("ssm")
    before = ssm.get_parameter(Name="/classes")["Parameter"]["Value"]
    ssm.put_parameter(Name="/classes", Value="{", Overwrite=True)
    try:
        result = served.run("classes", "explain", "class=large")
    finally:
        ssm.put_parameter(Name="/classes", Value=before, Overwrite=True)
    assert result.stderr.splitlines()[-1] == "Next: agent-stack classes validate --stack demo"


def test_a_migrated_file_keeps_them_without_aws(tmp_path: Path) -> None:
    words = ("--region", "eu-central-1", "--profile", "work")
    made = run("-", "-o", str(tmp_path), "--json", *words, text='{"MaxSize": "3"}')
    seen = json.loads(made.stdout)
    lines: list[str] = [*seen["next"], seen["share"]]
    put, doctor, *deploys = lines
    assert put.startswith("aws ssm put-parameter ")
    assert doctor.startswith("agent-stack doctor ")
    for line in (put, doctor):
        assert line.endswith("--region eu-central-1 --profile work")
    for line in deploys:
        assert line.startswith("AWS_PROFILE=work scripts/deploy ")
        assert KEPT in line
        assert "--profile" not in line
    report = (tmp_path / "migration.md").read_text()
    assert all(f"\n{line}\n" in report for line in lines)


def test_a_migrated_stack_is_put_where_it_was_read(served: Served, tmp_path: Path) -> None:
    """AWS_REGION says so here, which the `aws` command of version 1 does not read."""
    served.world._client("cloudformation").create_stack(
        StackName="elastic",
        TemplateBody=json.dumps(
            {"Parameters": {"MaxSize": {"Type": "Number"}}, "Resources": {"T": {"Type": "AWS::SNS::Topic"}}}
        ),
        Parameters=[{"ParameterKey": "MaxSize", "ParameterValue": "3"}],
    )
    seen = json.loads(served.ok("migrate", "--from-stack", "elastic", "-o", str(tmp_path), "--json"))
    assert seen["next"][0].endswith(f" {KEPT}")
    assert seen["next"][-1].endswith("MaxInstances=2")  # scripts/deploy reads AWS_REGION


def test_a_parameter_file_that_is_not_there_leads_to_doctor(served: Served) -> None:
    result = served.run("doctor", "--parameters", "/nowhere/ci.parameters")
    assert "Next: name a file of Name=value lines: agent-stack doctor --parameters FILE" in result.stderr


def test_a_job_that_no_class_fits_leads_to_explain_with_rules(served: Served) -> None:
    served.log("dispatcher", "job_ignored", job_id=job_id(9), reason="no class offers gpu=a100")
    assert "Next: agent-stack classes explain KEY=VALUE --stack demo" in served.ok("job", job_id(9))


@pytest.mark.parametrize(
    ("status", "words", "next_words"),
    [
        ("CREATE_IN_PROGRESS", "is being made", "aws cloudformation wait stack-create-complete"),
        ("DELETE_IN_PROGRESS", "is being deleted", "aws cloudformation wait stack-delete-complete"),
        ("REVIEW_IN_PROGRESS", "its change set was not executed", "aws cloudformation delete-stack"),
        ("ROLLBACK_COMPLETE", "was never made", "aws cloudformation delete-stack"),
        ("CREATE_FAILED", "was not made as a whole", "aws cloudformation describe-stack-events"),
        ("CREATE_COMPLETE", "is no stack of this project", "agent-stack stacks"),
        ("UPDATE_IN_PROGRESS", "is no stack of this project", "agent-stack stacks"),
    ],
)
def test_a_stack_without_outputs_is_told_by_its_state(status: str, words: str, next_words: str) -> None:
    error = not_ready(Session(region="eu-central-1"), "ci", status, "LedgerTable")
    assert isinstance(error, CliError)
    assert words in error.message
    assert error.next.startswith(next_words)
    assert KEPT in error.next
