"""template.yaml: valid before and after the transform, and in step with the code that reads its settings."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs

from agent_stack.adapters.artefact import shipped_program
from agent_stack.lease_loop import RESERVE
from agent_stack.settings import Settings
from infra import user_data
from infra.template_yaml import loads
from infra.user_data import (
    MAX_OWN_BYTES,
    PROGRAM,
    SETTINGS,
    TEMPLATE,
    first_stage,
    generated,
    program_sha256,
    second_stage,
    unpacked,
    without_trailing_comments,
)
from tests.infra.stacks import deployed
from tests.simulator.deployment import translated_template
from tests.simulator.lambda_host import ANYWHERE

REGION = "eu-central-1"
SHELL = {"BASH_REMATCH", "BASH_SOURCE", "PATH", "PPID", "RANDOM", "TMPDIR"}
IN_JOB_AWS = {"ROLE", "SECRETS_PATH", "SECRETS_BUCKET", "CACHE_BUCKET"}
"""What a job's program finds in JOB_AWS, one setting for lack of room."""
FROM_SYSTEMD = {"CACHE_DIRECTORY", "RUNTIME_DIRECTORY", "STATE_DIRECTORY", "CONFIGURATION_DIRECTORY"}
GENERATED = {"BOOT_PROGRAM", "PROGRAM_SHA256", "SETTINGS"}
WITH_A_DEFAULT = {
    *("AWS_EC2_METADATA_SERVICE_ENDPOINT", "BOOTSTRAP_TIMEOUT_SECONDS", "BORN", "SPOT_POLL_SECONDS"),
    *("CREDENTIAL_SECONDS", "DOWNLOAD_SECONDS", "HOLD_VERDICT_SECONDS", "PARAMETER_SECONDS", "PROGRAM_SECONDS"),
    *("PATIENCE_SECONDS", "SSH_DIRECTORY", "DOCKER_DIRECTORY"),
}
FROM_THE_AGENT = {
    *("AGENT_STACK_PRIVATE", "AGENT_STACK_ARTIFACT_BUCKET", "GIT_SSH_COMMAND"),
    *("BUILDKITE_BRANCH", "BUILDKITE_PULL_REQUEST_REPO", "BUILDKITE_REPO"),
    *("DOCKER_CONFIG", "GIT_CONFIG_COUNT", "GIT_SSH", "HOME", "SSH_AUTH_SOCK"),
    *(
        "BUILDKITE_S3_ACL",
        "BUILDKITE_PIPELINE_ID",
        "BUILDKITE_BUILD_ID",
        "BUILDKITE_JOB_ID",
        "BUILDKITE_ARTIFACT_UPLOAD_DESTINATION",
        "BUILDKITE_PIPELINE_SLUG",
        "BUILDKITE_OIDC_TOKEN_AWS_SESSION_TAGS",
        "BUILDKITE_OIDC_TOKEN_SUBJECT_CLAIM",
    ),
    "AGENT_STACK_JOB_AWS",
}


def resources() -> dict[str, Any]:
    return dict(translated_template(region=REGION)["Resources"])


def environment(function: str) -> dict[str, Any]:
    return dict(resources()[function]["Properties"]["Environment"]["Variables"])


@pytest.mark.share(2)
@pytest.mark.parametrize("translated", [False, True], ids=["as written", "as CloudFormation deploys it"])
def test_it_is_valid(translated: bool) -> None:  # noqa: FBT001  (which of the two)
    text = json.dumps(translated_template(region=REGION)) if translated else TEMPLATE.read_text()
    findings = [str(match) for match in lint(text, config=ManualArgs(regions=[REGION]))]
    assert findings == []


NESTED = {name: resource for name, resource in resources().items() if resource["Type"] == "AWS::CloudFormation::Stack"}


@pytest.mark.parametrize("name", NESTED)
def test_a_nested_template_is_valid_and_takes_what_it_is_given(name: str) -> None:
    nested = user_data.ROOT / loads(TEMPLATE.read_text())["Resources"][name]["Properties"]["TemplateURL"]
    assert [str(match) for match in lint(nested.read_text(), config=ManualArgs(regions=[REGION]))] == []
    declared = loads(nested.read_text())["Parameters"]
    given = set(NESTED[name]["Properties"]["Parameters"])
    assert given <= set(declared)
    assert {name for name, parameter in declared.items() if "Default" not in parameter} <= given


@pytest.mark.parametrize("function", ["Dispatcher", "Tracker"])
def test_each_function_has_the_memory_of_its_parameter(function: str) -> None:
    assert resources()[f"{function}Function"]["Properties"]["MemorySize"] == {"Ref": f"{function}Memory"}


def test_the_user_data_is_the_boot_program() -> None:
    template = TEMPLATE.read_text()
    assert generated(template) == template
    assert unpacked(template) == first_stage()


def test_user_data_and_dispatcher_name_the_program_that_the_functions_ship() -> None:
    assert PROGRAM.read_text() == second_stage()
    assert shipped_program().sha256 == program_sha256()
    assert environment("DispatcherFunction")["PROGRAM_SHA256"] == program_sha256()
    assert f"\nPROGRAM_SHA256={program_sha256()}\n" in user_data.user_data(dict.fromkeys(SETTINGS, ""))


def test_what_is_ours_of_the_user_data_is_at_most_ten_kilobytes() -> None:
    """EC2 takes 16; the rest is for the values of parameters."""
    ours = user_data.user_data({name: f"${{{source}}}" for name, source in SETTINGS.items()})
    assert len(ours.encode()) <= MAX_OWN_BYTES == 10_240


def test_every_setting_is_used_by_the_boot_program_and_none_is_missing() -> None:
    program = "".join(path.read_text() for path in user_data.VM.rglob("*") if path.is_file())
    for name in SETTINGS:
        assert re.search(rf"\b{name}\b", program), name
    given = {*SETTINGS, *SHELL, *re.findall(r"^(?:local |declare )?([A-Z_]+)=", program, re.MULTILINE)}
    wanted = set(re.findall(r"\$\{?([A-Z][A-Z0-9_]+)\b", program))
    assert wanted - given <= FROM_SYSTEMD | FROM_THE_AGENT | GENERATED | WITH_A_DEFAULT | IN_JOB_AWS


def test_user_data_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = "".join(f"{number * 2654435761 % 2**32:08x}" for number in range(MAX_OWN_BYTES // 4))
    monkeypatch.setattr(user_data, "first_stage", lambda: noise)
    with pytest.raises(ValueError, match="bytes"):
        generated(TEMPLATE.read_text())


def test_what_is_taken_off_the_lines_of_a_program_is_only_comments() -> None:
    """Bash itself says what a program is without its comments."""

    def as_bash_reads_it(program: str) -> str:
        text = f"whole() {{\n{program}\n}}\ndeclare -f whole\n"
        return subprocess.run(["bash"], input=text, capture_output=True, text=True, check=True).stdout

    for path in (
        *user_data.VM.glob("*.sh"),
        *(path for room in ("hooks", "job") for path in (user_data.VM / room).iterdir()),
    ):
        assert as_bash_reads_it(without_trailing_comments(path.read_text())) == as_bash_reads_it(path.read_text()), path
    assert not [line for line in (first_stage() + second_stage()).splitlines() if re.search(r"\S\s+# ", line)]


def test_the_boot_program_is_one_file_without_what_only_its_readers_need() -> None:
    program = first_stage() + second_stage()
    sourced = re.findall(r"^\s*source (.*)", program, re.MULTILINE)
    rest, *operators = sourced
    assert rest == '"$RUN/program.sh"'
    bucket, *operators = operators
    assert bucket == '"${AGENT_STACK_PRIVATE%/*}/aws/env"'
    assert operators == ['"${BASH_SOURCE%/*}/environment.operator"', '"${BASH_SOURCE%/*}/pre-exit.operator"']
    assert not re.search(r"^\s*#[^!]", program, re.MULTILINE)
    assert "@hooks" not in program


@pytest.mark.parametrize("function", ["DispatcherFunction", "TrackerFunction"])
def test_every_setting_of_the_code_is_set_and_none_besides(function: str) -> None:
    wanted = {field.alias for field in Settings.model_fields.values()} - {"AWS_REGION"}
    assert set(environment(function)) == wanted | {"POWERTOOLS_SERVICE_NAME"}


def test_handlers_are_where_the_template_says() -> None:
    for name in ("DispatcherFunction", "TrackerFunction"):
        module, _, function = resources()[name]["Properties"]["Handler"].rpartition(".")
        path = Path("functions", *module.split(".")).with_suffix(".py")
        assert f"def {function}(" in (TEMPLATE.parent / path).read_text()


def test_functions_run_the_runtime_they_are_built_for() -> None:
    for name in ("DispatcherFunction", "TrackerFunction"):
        properties = resources()[name]["Properties"]
        assert (properties["Runtime"], properties["Architectures"]) == ("python3.13", ["arm64"])


def test_vms_answer_to_imdsv2_only_and_terminate_when_they_shut_down() -> None:
    data = resources()["LaunchTemplate"]["Properties"]["LaunchTemplateData"]
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["MetadataOptions"]["InstanceMetadataTags"] == "enabled", "a standby VM reads its hold there"
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert "KeyName" not in data
    assert "SecurityGroupIngress" not in resources()["SecurityGroup"]["Properties"]


@pytest.mark.parametrize("minutely", ["true", "false"])
def test_vms_are_measured_each_minute_where_that_is_asked_for(minutely: str) -> None:
    launch = deployed({"DetailedMonitoring": minutely}).resources["LaunchTemplate"]
    assert launch["Properties"]["LaunchTemplateData"]["Monitoring"] == {"Enabled": minutely}


def test_scheduled_jobs_wake_the_dispatcher_at_once_where_there_is_a_bus() -> None:
    made = resources()
    assert {made[name]["Condition"] for name in ("JobWakes", "JobsScheduled", "DispatcherWakes")} == {"HasEventBus"}
    assert "MaximumBatchingWindowInSeconds" not in made["DispatcherWakes"]["Properties"]
    assert made["JobsScheduled"]["Properties"]["EventPattern"]["detail-type"] == ["Job Scheduled"]


def test_instances_news_reach_the_tracker_in_batches_only() -> None:
    """One invocation for each event of an account would be thousands, and most are somebody else's."""
    mapping = resources()["TrackerWakes"]["Properties"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 2}
    assert mapping["MaximumBatchingWindowInSeconds"] >= 1
    (target,) = resources()["InstanceChanges"]["Properties"]["Targets"]
    assert target["Arn"] == {"Fn::GetAtt": ["Wakes", "Arn"]}


@pytest.mark.parametrize("function", ["DispatcherFunction", "TrackerFunction"])
def test_an_invocation_outlasts_the_longest_way_to_the_next_one(function: str) -> None:
    """A schedule fires anywhere in its minute. What is kept free at the end is no time for cycles."""
    apart = 60 + ANYWHERE[1] - ANYWHERE[0]
    work = resources()[function]["Properties"]["Timeout"] - RESERVE.total_seconds()
    assert work >= apart + 10, "a cold start and a handover take seconds"


@pytest.mark.parametrize("mapping", ["DispatcherWakes", "TrackerWakes"])
def test_a_wake_up_is_not_delivered_again_while_its_invocation_may_run(mapping: str) -> None:
    """Lambda refuses a queue with a shorter visibility time-out than its function's."""
    made = resources()
    properties = made[mapping]["Properties"]
    queue, function = properties["EventSourceArn"]["Fn::GetAtt"][0], properties["FunctionName"]["Ref"]
    window = properties.get("MaximumBatchingWindowInSeconds", 0)
    assert made[queue]["Properties"]["VisibilityTimeout"] >= made[function]["Properties"]["Timeout"] + window


def depends_on(name: str, made: dict[str, Any]) -> set[str]:
    """Every resource that is made before this one, and so goes after it."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        resource = made[waiting.pop()]
        stated = resource.get("DependsOn", [])
        named = {stated} if isinstance(stated, str) else set(stated)
        text = json.dumps(resource)
        named |= {other for other in made if f'"{other}"' in text or f"${{{other}}}" in text or f"${{{other}." in text}
        waiting += named - found
        found |= named
    return found - {name}


def test_at_a_removal_nothing_invokes_a_function_once_the_vms_are_ended() -> None:
    made = resources()
    invokers = {
        name
        for name, resource in made.items()
        if resource["Type"] in {"AWS::Scheduler::Schedule", "AWS::Lambda::EventSourceMapping"}
    }
    assert {"DispatcherSchedule", "TrackerSchedule", "DispatcherWakes", "TrackerWakes"} <= invokers
    for name in invokers:
        assert "Registration" in depends_on(name, made), name
    assert not invokers & depends_on("Registration", made)
    assert {"LedgerTable", "TrackerRole", "SecurityGroup"} <= depends_on("Registration", made)


def test_an_invocation_has_time_to_end_vms_before_cloudformation_gives_up() -> None:
    made = resources()
    waits = int(made["Registration"]["Properties"]["ServiceTimeout"])
    assert waits > made["TrackerFunction"]["Properties"]["Timeout"]
