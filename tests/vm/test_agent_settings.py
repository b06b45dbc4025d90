"""What the agent and its jobs are told: with both versions' names, and nothing that an image says by accident."""

from pathlib import Path

import pytest

from tests.vm.harness import VmHarness
from tests.vm.test_private_work import as_setting, keep

pytestmark = [pytest.mark.e2e, pytest.mark.share(2)]

PROBE = '#!/bin/bash\nenv -0 >"$LOCAL_VM_ROOT/told"; exit 3\n'


def told(harness: VmHarness, instance_id: str, header: dict[str, str | None]) -> dict[str, str]:
    """The environment of an agent."""
    job_id, token = harness.reserve("true")
    harness.fill(instance_id, job_id, token)
    vm = harness.boot(instance_id, agent=None, files={"bin/buildkite-agent": PROBE}, header=header)
    harness.ended(vm)
    return dict(pair.split("=", 1) for pair in (vm.directory / "told").read_text().split("\0") if pair)


def test_values_may_have_commas_quotes_and_anything(harness: VmHarness) -> None:
    text = 'BUILDKITE_GIT_CLONE_FLAGS=-v,--depth=1\nQUOTED=it\'s "a" \\ $HOME `x`\nTHIRD= spaces '
    environment = told(harness, "i-1001", {"AGENT_ENVIRONMENT": as_setting(text)})
    assert environment["BUILDKITE_GIT_CLONE_FLAGS"] == "-v,--depth=1"
    assert environment["QUOTED"] == 'it\'s "a" \\ $HOME `x`'
    assert environment["THIRD"] == " spaces "


def test_what_is_no_setting_is_refused_before_the_credential(harness: VmHarness) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-1002", job_id, token)
    vm = harness.boot("i-1002", header={"AGENT_ENVIRONMENT": as_setting("A=1\nnonsense")})
    harness.ended(vm)
    assert harness.mail("i-1002")["detail"] == "parameter AgentEnvironment, line 2 is not NAME=value"
    assert "credential" in harness.mail("i-1002")


def test_tags_say_where_and_on_what_the_agent_runs_and_none_replaces_another(harness: VmHarness) -> None:
    environment = told(harness, "i-1003", {"AGENT_ENVIRONMENT": as_setting("BUILDKITE_AGENT_TAGS=team=a,gpu=no\n")})
    assert environment["BUILDKITE_AGENT_TAGS"].split(",") == [
        "queue=default",
        "class=default",
        "aws:instance-id=i-1003",
        "aws:instance-type=m7i.large",
        "aws:ami-id=ami-00000000000000000",
        "aws:availability-zone=eu-central-1a",
        "aws:instance-life-cycle=on-demand",
        "team=a",
        "gpu=no",
    ]


def test_one_setting_works_with_both_versions(harness: VmHarness) -> None:
    environment = told(
        harness,
        "i-1004",
        {
            "AGENT_TRACING": "opentelemetry",
            "AGENT_EXPERIMENTS": "a,b",
            "ALLOWED_REPOSITORIES": "^git@host:us/.*$,^https://host/us/",
            "ALLOWED_PLUGINS": "^docker#v5",
            "REDACTED_VARIABLES": "*_LICENCE",
            "AGENT_ENVIRONMENT": as_setting("BUILDKITE_TRACING_SERVICE_NAME=ci"),
        },
    )
    assert environment["BUILDKITE_TRACING_BACKEND"] == "opentelemetry"
    assert environment["BUILDKITE_OPENTELEMETRY_TRACING"] == "true"
    assert environment["BUILDKITE_TELEMETRY_SERVICE_NAME"] == environment["BUILDKITE_TRACING_SERVICE_NAME"] == "ci"
    assert environment["BUILDKITE_AGENT_EXPERIMENT"] == "a,b"
    assert environment["BUILDKITE_ALLOWED_REPOSITORIES"] == "^git@host:us/.*$,^https://host/us/"
    assert environment["BUILDKITE_ALLOWED_PLUGINS"] == "^docker#v5"
    assert environment["BUILDKITE_REDACTED_VARS"].split(",")[-1] == "*_LICENCE"
    assert "*_TOKEN" in environment["BUILDKITE_REDACTED_VARS"].split(","), "those that the agent hides by itself"


def test_the_operators_variables_for_jobs_are_hidden_in_logs_whatever_their_names(harness: VmHarness) -> None:
    keep(harness, "/private/environment", "LICENCE=of-the-compiler\n# mine\nDEPLOY=with-this-one\n")
    job_id, token = harness.reserve("echo $LICENCE $DEPLOY; echo shown; ulimit -Hc")
    harness.fill("i-1008", job_id, token)
    header = {"JOB_ENVIRONMENT_PARAMETER": "/private/environment", "REDACTED_VARIABLES": "*_LICENCE"}
    vm = harness.boot("i-1008", header=header)
    harness.ended(vm)
    assert harness.output(job_id) == "[REDACTED] [REDACTED]\nshown\n0\n", "nor is there a core dump to find them in"


def test_names_of_hidden_variables_are_added_to_those_that_the_agent_and_the_operator_hide(harness: VmHarness) -> None:
    keep(harness, "/private/environment", "LICENCE=of-the-compiler\n")
    header: dict[str, str | None] = {
        "JOB_ENVIRONMENT_PARAMETER": "/private/environment",
        "REDACTED_VARIABLES": "*_X",
        "AGENT_ENVIRONMENT": as_setting("BUILDKITE_REDACTED_VARS=*_MINE"),
    }
    assert told(harness, "i-1009", header)["BUILDKITE_REDACTED_VARS"] == "*_MINE,*_X,LICENCE"


def test_a_job_knows_its_region_unless_the_operator_says_another(harness: VmHarness) -> None:
    environment = told(harness, "i-1005", {"AGENT_ENVIRONMENT": as_setting("AWS_REGION=us-east-1")})
    assert (environment["AWS_REGION"], environment["AWS_DEFAULT_REGION"]) == ("us-east-1", "eu-central-1")


@pytest.mark.parametrize("policy", ["ignored", "image"])
def test_the_images_configuration_file_is_read_only_where_the_operator_says_so(harness: VmHarness, policy: str) -> None:
    """A queue in it, beside our tags, is fatal."""
    job_id, token = harness.reserve("echo ok")
    harness.fill("i-1006", job_id, token)
    files: dict[str, str | Path] = {"home/.buildkite-agent/buildkite-agent.cfg": 'queue="x"\n'}
    vm = harness.boot("i-1006", files=files, header={"AGENT_CONFIG_FILE": policy})
    harness.ended(vm)
    if policy == "ignored":
        assert harness.output(job_id) == "ok\n"
    else:
        assert harness.mail("i-1006")["detail"].startswith("1 ")
        assert "queue" in harness.mail("i-1006")["detail"]


def test_memory_that_runs_out_spares_the_boot_program_and_the_agent_and_nothing_of_a_job(harness: VmHarness) -> None:
    """What the kernel may end first is a job's: our hook takes the protection off whatever has a protected parent."""
    job_id, token = harness.reserve("cat /proc/self/oom_score_adj")
    harness.fill("i-1007", job_id, token)
    vm = harness.boot("i-1007")
    harness.ended(vm)
    started = {line.split()[3]: line for line in vm.effects() if line.startswith("systemd-run ")}
    assert "-p OOMScoreAdjust=-1000" in started["agent-stack-boot"]
    assert "-p OOMScoreAdjust=-900" in started["agent-stack-agent"]
    assert "-p OOMPolicy=continue" in started["agent-stack-agent"]
    assert int(harness.output(job_id)) >= 0
