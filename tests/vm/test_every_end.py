"""Whatever breaks, and wherever it is killed: the VM ends, and says what it can."""

import contextlib
import signal
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from tests.simulator.buildkite import JobState
from tests.simulator.iam.refusal import Refusal
from tests.simulator.vm.process import LocalVm
from tests.vm.harness import VmHarness, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.share(4)]

OUT_OF_SPACE = Path("/dev/full")


def kill_boot_program(vm: LocalVm, number: signal.Signals = signal.SIGKILL) -> None:
    for process in vm.processes():
        with contextlib.suppress(psutil.Error):
            if (process.cmdline() or [""])[-1].endswith("/boot.sh"):
                process.send_signal(number)


STEPS = (
    "dynamodb:GetItem",
    "dynamodb:UpdateItem booting",
    "dynamodb:UpdateItem credential_taken",
    "dynamodb:UpdateItem agent_started",
    "dynamodb:UpdateItem agent_exited",
)


@pytest.mark.parametrize("killed_at", STEPS)
@pytest.mark.share(6)
def test_killed_at_any_step_it_powers_off_and_no_second_agent_comes(harness: VmHarness, killed_at: str) -> None:
    """Each step is one that another party sees; between two of them nothing of the outside changes."""
    job_id, token = harness.reserve("echo done")
    harness.fill("i-0101", job_id, token)
    vms: list[LocalVm] = []

    def kill(_: str, step: str) -> None:
        if step != killed_at or not vms:
            return
        if step.endswith("agent_started"):  # an agent that is stopped before it registered has no job to end
            wait_for(lambda: harness.buildkite.job(job_id).agent_id is not None)
        kill_boot_program(vms[0])

    harness.on_step = kill
    vms.append(harness.boot("i-0101"))
    harness.ended(vms[0])
    assert [*harness.steps(vms[0])][:2] == ["agent-stack-lifetime", "agent-stack-boot"]
    before_agent = STEPS.index(killed_at) <= STEPS.index("dynamodb:UpdateItem credential_taken")
    job = harness.buildkite.job(job_id)
    assert len(harness.buildkite.agents()) == (0 if before_agent else 1)
    assert job.state is (JobState.RESERVED if before_agent else JobState.FINISHED)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.share(6)
def test_stopped_by_a_signal_before_its_agent_it_says_so(harness: VmHarness, number: signal.Signals) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0102", job_id, token)
    vms: list[LocalVm] = []
    harness.on_step = lambda _, step: kill_boot_program(vms[0], number) if step.endswith("booting") and vms else None
    vms.append(harness.boot("i-0102"))
    harness.ended(vms[0])
    assert harness.mail("i-0102")["stage"] == "failed"
    assert f"stopped by {number.name}" in harness.mail("i-0102")["detail"]
    assert "credential" in harness.mail("i-0102")


def test_with_an_agent_a_signal_stops_the_agent_and_the_job_ends(harness: VmHarness) -> None:
    job_id, token = harness.reserve("echo started; sleep 600")
    harness.fill("i-0103", job_id, token)
    vm = harness.boot("i-0103")
    wait_for(lambda: harness.output(job_id) == "started\n")
    kill_boot_program(vm, signal.SIGTERM)
    harness.ended(vm)
    assert harness.buildkite.job(job_id).state == "finished"
    assert harness.mail("i-0103")["stage"] == "agent_exited"


def test_a_full_disk_is_said_and_ends_it(harness: VmHarness) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0104", job_id, token)
    full = {"var/lib/agent-stack/bin/buildkite-agent.sha256": OUT_OF_SPACE}
    vm = harness.boot("i-0104", agent=None, files=full, header={"AGENT_DOWNLOAD_URL": harness.aws.front.origin})
    harness.ended(vm)
    assert harness.mail("i-0104")["stage"] == "failed"
    assert "cannot download" in harness.mail("i-0104")["detail"]


def test_an_agent_that_neither_works_nor_ends_is_ended_by_the_lifetime(harness: VmHarness) -> None:
    """As one that somebody paused in Buildkite."""
    job_id, token = harness.reserve("true")
    harness.fill("i-0105", job_id, token)
    vm = harness.boot(
        "i-0105",
        agent=None,
        files={"bin/buildkite-agent": "#!/bin/sh\nexec sleep 600"},
        header={"MAX_LIFETIME_SECONDS": "5"},
    )
    harness.ended(vm)
    assert harness.buildkite.job(job_id).state is JobState.RESERVED


@pytest.mark.parametrize(
    ("command", "detail"), [("exit 27", "27"), ("echo broken; exit 1", "1 broken"), ("kill -9 $$", "255")]
)
@pytest.mark.share(6)
def test_an_agents_end_is_told_whatever_it_was(harness: VmHarness, command: str, detail: str) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0106", job_id, token)
    vm = harness.boot("i-0106", agent=None, files={"bin/buildkite-agent": f"#!/bin/bash\necho x; sleep 0.3; {command}"})
    harness.ended(vm)
    assert harness.mail("i-0106")["stage"] == "agent_exited"
    assert harness.mail("i-0106")["detail"].replace(" x", "").startswith(detail)


def test_an_agent_that_ran_and_said_nothing_is_no_boot_that_failed(harness: VmHarness) -> None:
    """Its job may have begun: it must not be handed to another VM by the VM's own word alone."""
    job_id, token = harness.reserve("true")
    harness.fill("i-0116", job_id, token)
    vm = harness.boot("i-0116", agent=None, files={"bin/buildkite-agent": "#!/bin/bash\nsleep 1; exit 1"})
    harness.ended(vm)
    assert harness.mail("i-0116")["stage"] == "agent_exited"


def test_after_a_reboot_the_vm_ends(harness: VmHarness) -> None:
    """Neither timer nor boot program would be there: cloud-init runs user data at an instance's first boot only."""
    vm = harness.boot("i-0117", header={"UNASSIGNED_TIMEOUT_SECONDS": "1"})
    harness.ended(vm)
    at_each_boot = vm.directory / "var/lib/cloud/scripts/per-boot/agent-stack"
    assert at_each_boot.read_text() == "#!/bin/sh\nsystemctl poweroff\n"
    assert at_each_boot.stat().st_mode & 0o111


def test_memory_that_runs_out_ends_what_took_it_and_not_the_agent(harness: VmHarness) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0118", job_id, token)
    vm = harness.boot("i-0118")
    harness.ended(vm)
    (started,) = (line for line in vm.effects() if " agent-stack-agent " in line)
    assert "-p OOMPolicy=continue" in started


def test_a_skewed_clock_is_set_once_from_the_answer(harness: VmHarness) -> None:
    harness.aws.front.skew = timedelta(minutes=9)
    job_id, token = harness.reserve("true")
    harness.fill("i-0107", job_id, token)
    vm = harness.boot("i-0107")
    wait_for(lambda: any("set-time" in step for step in harness.steps(vm)))
    harness.aws.front.skew = timedelta()  # what setting the clock does to the difference
    harness.ended(vm)
    assert sum("set-time" in step for step in harness.steps(vm)) == 1
    assert harness.buildkite.job(job_id).state == "finished"


def test_a_clock_that_stays_wrong_is_said_on_the_console(harness: VmHarness) -> None:
    harness.aws.front.skew = timedelta(minutes=-9)
    vm = harness.boot("i-0108", header={"UNASSIGNED_TIMEOUT_SECONDS": "4"})
    harness.ended(vm)
    assert "still refused as skewed" in vm.console()


def test_a_mailbox_that_comes_back_is_read(harness: VmHarness) -> None:
    harness.aws.front.down = True
    job_id, token = harness.reserve("true")
    harness.fill("i-0109", job_id, token)
    vm = harness.boot("i-0109")
    wait_for(lambda: "mailbox cannot be read" in vm.console())
    harness.aws.front.down = False
    harness.ended(vm)
    assert harness.buildkite.job(job_id).state == "finished"


def test_a_mailbox_that_goes_away_after_the_agent_started_costs_nothing(harness: VmHarness) -> None:
    """The mute VM: its job is the agent's, and runs to its end. It then tries to report for 20 s, as it should."""
    job_id, token = harness.reserve("sleep 2")
    harness.fill("i-0110", job_id, token)
    vm = harness.boot("i-0110")
    wait_for(lambda: "agent started" in vm.console())
    harness.aws.front.down = True
    harness.ended(vm, seconds=60)
    assert harness.buildkite.job(job_id).exit_status == 0


def test_metadata_tokens_that_end_are_fetched_again(harness: VmHarness) -> None:
    vm = harness.boot("i-0111")
    wait_for(lambda: "booting" in vm.console())
    harness.imds.expire_tokens("i-0111")
    job_id, token = harness.reserve("sleep 2")
    harness.fill("i-0111", job_id, token)
    harness.ended(vm)
    assert harness.buildkite.job(job_id).state == "finished"
    assert harness.imds.requests_of("i-0111").count("PUT api/token") == 2


def test_a_curl_that_cannot_sign_is_given_signatures(harness: VmHarness) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0112", job_id, token)
    old = """#!/usr/bin/env bash
if [[ $* == --version ]]; then echo "curl 7.61.1 (x86_64)"; exit; fi
config=$(cat)
if [[ $config == *aws-sigv4* ]]; then echo "unknown option" >&2; exit 2; fi
exec /usr/bin/curl "$@" <<<"$config"
"""
    vm = harness.boot("i-0112", files={"bin/curl": old})
    harness.ended(vm)
    assert harness.buildkite.job(job_id).state == "finished"
    assert "dynamodb:UpdateItem agent_exited" in harness.steps(vm)


def test_nothing_is_written_outside_the_vms_own_directory(harness: VmHarness, tmp_path: Path) -> None:
    job_id, token = harness.reserve("echo ok")
    harness.fill("i-0113", job_id, token)
    before = set(Path("/run").iterdir()) | set(Path("/tmp").iterdir()) | set(Path("/etc").iterdir())
    vm = harness.boot("i-0113")
    harness.ended(vm)
    after = set(Path("/run").iterdir()) | set(Path("/tmp").iterdir()) | set(Path("/etc").iterdir())
    assert {path.name for path in after - before if "agent-stack" in path.name} == set()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ExpiredTokenException", 400),
        ("ProvisionedThroughputExceededException", 400),
        ("ThrottlingException", 400),
        ("InternalServerError", 500),
    ],
)
@pytest.mark.share(6)
def test_a_refusal_that_passes_costs_seconds(harness: VmHarness, code: str, status: int) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0114", job_id, token)
    harness.aws.front.refusals.extend([Refusal(code=code, message="for now", status=status)] * 2)
    vm = harness.boot("i-0114")
    harness.ended(vm)
    assert harness.buildkite.job(job_id).state == "finished"


def test_a_lost_credential_is_asked_for_and_given_again(harness: VmHarness) -> None:
    losses = iter([True])
    harness.aws.front.lose_answer = lambda asked: (
        "credential" in asked.context.get("dynamodb:Attributes", ()) and next(losses, False)
    )
    job_id, token = harness.reserve("true")
    harness.fill("i-0115", job_id, token)
    vm = harness.boot("i-0115")
    wait_for(lambda: harness.mail("i-0115").get("stage") == "credential_lost")
    assert "credential" not in harness.mail("i-0115")
    harness.give("i-0115", token)
    harness.ended(vm)
    assert harness.buildkite.job(job_id).state == "finished"
