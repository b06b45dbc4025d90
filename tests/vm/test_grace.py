"""What a job gets when its VM has to go: time to end, and its log arrives, with both versions of the agent."""

import os
import re
import time

import pytest

from agent_stack.domain.states import BootStage, CredentialHolder
from agent_stack.domain.vms import MailboxStatus
from infra.user_data import TEMPLATE, VM
from tests.vm.harness import VmHarness, wait_for
from tests.vm.silence import Service, requests_of_a_look, seconds_of_calls

pytestmark = [pytest.mark.e2e, pytest.mark.share(2)]

REAL = bool(os.environ.get("BUILDKITE_AGENT_BINARY"))
VERSIONS = ["4"] if REAL else ["3", "4"]
SAVES = "trap 'sleep 2; echo saved; exit 7' TERM; echo started; while :; do sleep 0.1; done"
DEAF = "trap '' TERM; echo started; while :; do sleep 0.1; done"
PROBE = "#!/bin/bash\nenv | grep -E '^BUILDKITE_(CANCEL|SIGNAL)' | sort; exit 3\n"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_job_has_its_grace_when_ec2_takes_the_vm_and_its_log_arrives(harness: VmHarness, version: str) -> None:
    job_id, token = harness.reserve(SAVES)
    harness.fill("i-0701", job_id, token)
    vm = harness.boot("i-0701", header={"JOB_GRACE_SECONDS": "8"}, environment={"AGENT_STUB_VERSION": version})
    wait_for(lambda: "started" in harness.output(job_id))
    harness.interrupt("i-0701")
    harness.ended(vm)
    assert "saved\n" in harness.output(job_id)
    assert harness.buildkite.job(job_id).signal_reason == "agent_stop"
    assert "EC2 takes this VM back (spot interruption)" in harness.buildkite.job(job_id).log
    steps = harness.steps(vm)
    stop = next(number for number, step in enumerate(steps) if step.startswith("systemctl kill"))
    assert stop < steps.index("dynamodb:UpdateItem spot_notice")
    mail = harness.mail("i-0701")
    assert mail["stage"] == "agent_exited"
    assert MailboxStatus(
        credential_holder=CredentialHolder.VM, stage=BootStage(mail["stage"]), detail=mail["detail"]
    ).spot_noticed, "the tracker counts by these words"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_job_that_does_not_end_is_killed_after_its_grace_and_its_log_arrives(
    harness: VmHarness, version: str
) -> None:
    job_id, token = harness.reserve(DEAF)
    harness.fill("i-0702", job_id, token)
    vm = harness.boot("i-0702", header={"JOB_GRACE_SECONDS": "2"}, environment={"AGENT_STUB_VERSION": version})
    wait_for(lambda: "started" in harness.output(job_id))
    began = time.monotonic()
    harness.interrupt("i-0702")
    wait_for(lambda: harness.buildkite.job(job_id).state == "finished")
    assert time.monotonic() - began < 9, "the agents' own grace is longer than that"
    harness.ended(vm)
    job = harness.buildkite.job(job_id)
    assert (job.state, harness.output(job_id)) == ("finished", "started\n")
    assert harness.mail("i-0702")["stage"] == "agent_exited"


def test_a_lifetime_that_is_over_and_a_reboot_give_the_grace_too(harness: VmHarness) -> None:
    job_id, token = harness.reserve(SAVES)
    harness.fill("i-0703", job_id, token)
    vm = harness.boot("i-0703", header={"MAX_LIFETIME_SECONDS": "6", "JOB_GRACE_SECONDS": "8"})
    harness.ended(vm)
    assert harness.output(job_id).startswith("started\n")
    assert harness.output(job_id).endswith("saved\n")
    assert "spot interruption" not in harness.buildkite.job(job_id).log
    assert harness.mail("i-0703")["stage"] == "agent_exited"


@pytest.mark.parametrize(("cancel", "wanted"), [("120", "60"), ("86400", "60"), ("40", "15"), ("10", "4"), ("0", "1")])
@pytest.mark.share(6)
def test_the_grace_ends_before_the_tracker_ends_the_vm(harness: VmHarness, cancel: str, wanted: str) -> None:
    """CancelGraceSeconds is the tracker's; an agent that still waits then would take its log with it."""
    job_id, token = harness.reserve("true")
    harness.fill("i-0704", job_id, token)
    header = {"CANCEL_GRACE_SECONDS": cancel, "JOB_GRACE_SECONDS": "60"}
    vm = harness.boot("i-0704", agent=None, files={"bin/buildkite-agent": PROBE}, header=header)
    harness.ended(vm)
    said = dict(line.split("=") for line in (vm.directory / "var/lib/agent-stack/agent.log").read_text().splitlines())
    job, cleanup = (int(said[f"BUILDKITE_CANCEL_{name}_TIMEOUT"].removesuffix("s")) for name in ("SIGNAL", "CLEANUP"))
    assert said["BUILDKITE_SIGNAL_GRACE_PERIOD_SECONDS"] == str(job)
    assert said["BUILDKITE_CANCEL_GRACE_PERIOD"] == str(job + cleanup)
    assert job + cleanup + 1 <= max(int(cancel), 3)
    assert job >= int(wanted)
    (started,) = (line for line in vm.effects() if " agent-stack-agent " in line)
    stop = re.search(r"TimeoutStopSec=(\d+)", started)
    assert stop is not None
    assert int(stop[1]) > job + cleanup + 1


def seconds(file: str, pattern: str) -> int:
    found = re.search(pattern, (VM / file).read_text(), re.MULTILINE)
    assert found is not None, pattern
    return int(found[1])


def test_the_longest_grace_fits_into_a_spot_notice_with_report_and_logs() -> None:
    """Two minutes. All that the VM does in them one after another, each at its longest."""
    parameter = re.search(r"JobGraceSeconds:\n.*?MaxValue: (\d+)", TEMPLATE.read_text(), re.DOTALL)
    assert parameter is not None
    shipping = seconds("logs.sh", r"^SHIP_SECONDS=(\d+)") + 1
    look = 3 * seconds("requests.sh", r"^IMDS_SECONDS=(\d+)")  # a token that is too old costs two requests more
    known_after = seconds("agent.sh", r"SPOT_POLL_SECONDS:-(\d+)") + shipping + look
    agent = int(parameter[1]) + seconds("environment.sh", r"^CLEANUP_SECONDS=(\d+)") + 1
    report = seconds("agent.sh", r"^SPOT_REPORT_SECONDS=(\d+)") + 1
    assert known_after + agent + report + shipping <= 120


@pytest.mark.parametrize("aws", [Service.SILENT, Service.BUSY])
@pytest.mark.parametrize("metadata", [Service.ANSWERS, Service.BUSY, Service.SILENT])
@pytest.mark.parametrize("budget", [3, 20])
def test_a_call_takes_no_longer_than_its_budget_whatever_does_not_answer(
    budget: int, aws: Service, metadata: Service
) -> None:
    """Fetching keys included, and each further try."""
    took = seconds_of_calls(budget, metadata=metadata, aws=aws)
    assert max(took) <= budget + 1
    assert min(took) >= budget - 1, "it is tried for as long as it may be"


@pytest.mark.parametrize("token", ["", "old"])
def test_a_look_takes_three_requests_at_most(token: str) -> None:
    assert requests_of_a_look(token) <= 3


def test_services_that_do_not_answer_keep_a_vm_that_ec2_takes_no_longer_than_its_budget(harness: VmHarness) -> None:
    """Its last report and its logs are tried for seconds, and then it is off."""
    job_id, token = harness.reserve("echo started; sleep 600")
    harness.fill("i-0705", job_id, token)
    vm = harness.boot("i-0705", header={"JOB_GRACE_SECONDS": "2", "LOG_GROUP": "/agent-stack/stack/vms"})
    wait_for(lambda: "agent started" in vm.console() and "started" in harness.output(job_id))
    harness.aws.front.speaks.clear()
    harness.interrupt("i-0705")
    wait_for(lambda: harness.buildkite.job(job_id).state == "finished")
    began = time.monotonic()
    harness.ended(vm, seconds=60)
    budget = seconds("agent.sh", r"^SPOT_REPORT_SECONDS=(\d+)") + seconds("logs.sh", r"^SHIP_SECONDS=(\d+)") + 1
    assert time.monotonic() - began < budget + 5, "a test's machine is slow"
