"""The boot program as it ships, run by real bash, curl and processes: how it begins, and that it always ends."""

import pwd
import stat
from pathlib import Path

import pytest
from werkzeug.utils import redirect

from tests.simulator.buildkite import AGENT_TOKEN
from tests.simulator.loopback import LoopbackServer
from tests.simulator.vm.process import AGENT_STUB
from tests.vm.harness import NOWHERE, VmHarness, download_server, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.share(4)]

POWER_OFF = "systemctl poweroff"
USER = "--system --user-group --create-home --home-dir /var/lib/buildkite-agent --shell /bin/bash buildkite-agent"
USER_EXISTS = any(user.pw_name == "buildkite-agent" for user in pwd.getpwall())


def test_it_runs_one_job_and_powers_off(harness: VmHarness) -> None:
    job_id, token = harness.reserve("echo hello from the job; sleep 1")
    harness.fill("i-0001", job_id, token)
    vm = harness.boot("i-0001")
    harness.ended(vm)
    job = harness.buildkite.job(job_id)
    assert (job.state, job.exit_status, harness.output(job_id)) == ("finished", 0, "hello from the job\n")
    assert job.agent_name == "stack-i-0001"
    mail = harness.mail("i-0001")
    assert (mail["stage"], mail["detail"].split()[0]) == ("agent_exited", "0")
    assert float(mail["stage_seconds"]) > 0
    whatever_this_machine_is = ("systemctl stop apt-", "ip -6 rule")
    assert [step for step in harness.steps(vm) if not step.startswith(whatever_this_machine_is)] == [
        "agent-stack-lifetime",
        "agent-stack-boot",
        "dynamodb:GetItem program",
        "dynamodb:GetItem",
        "dynamodb:UpdateItem booting",
        *([] if USER_EXISTS else [f"useradd {USER}"]),
        "ip rule add prohibit to 169.254.169.254/32 uidrange 991-991",
        "dynamodb:UpdateItem credential_taken",
        "agent-stack-agent",
        "dynamodb:UpdateItem agent_started",
        "dynamodb:UpdateItem agent_exited",
        POWER_OFF,
    ]


def test_the_credential_is_nowhere_but_with_the_agent(harness: VmHarness) -> None:
    """Not in the agent's environment either, which a job can read for as long as the agent lives."""
    job_id, token = harness.reserve("env; tr '\\0' '\\n' </proc/$PPID/environ; cat \"$AGENT_STACK_PRIVATE\"/* || true")
    harness.fill("i-0002", job_id, token)
    vm = harness.boot("i-0002")
    harness.ended(vm)
    log = harness.buildkite.job(job_id).log
    assert "AGENT_STACK_PRIVATE=" in log
    assert token not in log
    assert "credential" not in harness.mail("i-0002")
    written = "".join(path.read_text(errors="replace") for path in vm.directory.rglob("*") if path.is_file())
    assert token not in written


def test_without_a_job_it_leaves_and_writes_nothing(harness: VmHarness) -> None:
    vm = harness.boot("i-0003", header={"UNASSIGNED_TIMEOUT_SECONDS": "2"})
    harness.ended(vm)
    assert "no job within 2 s" in vm.console()
    assert harness.mail("i-0003") == {}


def test_a_closed_mailbox_is_no_assignment(harness: VmHarness) -> None:
    """The tracker closes it before it ends the VM. DynamoDB answers with an item in which nothing stands."""
    harness.close_mailbox("i-00c1")
    vm = harness.boot("i-00c1", header={"UNASSIGNED_TIMEOUT_SECONDS": "2"})
    harness.ended(vm)
    assert "no job within 2 s" in vm.console()
    assert "failed" not in vm.console()


def test_a_job_that_comes_later_is_found(harness: VmHarness) -> None:
    vm = harness.boot("i-0004")
    wait_for(lambda: "booting" in vm.console())
    job_id, token = harness.reserve("true")
    harness.fill("i-0004", job_id, token)
    harness.ended(vm)
    assert harness.buildkite.job(job_id).state == "finished"


def test_who_comes_second_for_the_credential_leaves_quietly(harness: VmHarness) -> None:
    job_id, _ = harness.reserve("true")
    harness.fill("i-0005", job_id, None, revoked="1")
    vm = harness.boot("i-0005")
    harness.ended(vm)
    assert "already taken" in vm.console()
    assert harness.buildkite.agents() == ()
    assert harness.mail("i-0005")["stage"] == "booting"


def test_an_image_without_an_agent_gets_the_pinned_one(harness: VmHarness) -> None:
    job_id, token = harness.reserve("echo ok")
    harness.fill("i-0006", job_id, token)
    with download_server(AGENT_STUB.read_bytes()) as downloads:
        vm = harness.boot("i-0006", agent=None, header={"AGENT_DOWNLOAD_URL": downloads.origin})
        harness.ended(vm)
    assert harness.output(job_id) == "ok\n"


@pytest.mark.parametrize("broken", ["checksum", "missing", "unreachable"])
@pytest.mark.share(6)
def test_an_agent_that_cannot_be_trusted_or_had_is_not_run(harness: VmHarness, broken: str) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0007", job_id, token)
    wrong = "0" * 64 if broken == "checksum" else None
    with download_server(AGENT_STUB.read_bytes(), checksum=wrong) as downloads:
        url = {"checksum": downloads.origin, "missing": f"{downloads.origin}/old"}.get(broken, NOWHERE)
        vm = harness.boot(
            "i-0007", agent=None, header={"AGENT_DOWNLOAD_URL": url}, environment={"DOWNLOAD_SECONDS": "2"}
        )
        harness.ended(vm, seconds=45)
    mail = harness.mail("i-0007")
    assert mail["stage"] == "failed"
    assert ("checksum" if broken == "checksum" else "cannot download") in mail["detail"]
    assert harness.buildkite.agents() == ()


@pytest.mark.parametrize("by", ["redirect", "setting"])
def test_what_does_not_come_over_https_is_not_run(harness: VmHarness, by: str) -> None:
    """A network on the way could answer: with an agent of its own, and with that agent's checksum."""
    job_id, token = harness.reserve("true")
    harness.fill("i-0009", job_id, token)
    with (
        download_server(AGENT_STUB.read_bytes()) as downloads,
        LoopbackServer(lambda request: redirect(downloads.origin + request.path), advance=lambda: None) as elsewhere,
    ):
        url = elsewhere.origin if by == "redirect" else downloads.origin.replace("127.0.0.1", "localhost")
        vm = harness.boot("i-0009", agent=None, header={"AGENT_DOWNLOAD_URL": url})
        harness.ended(vm)
    assert harness.mail("i-0009")["stage"] == "failed"
    assert "cannot download" in harness.mail("i-0009")["detail"]
    assert harness.buildkite.agents() == ()


def test_an_agent_that_ends_without_the_job_says_so(harness: VmHarness) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0008", job_id, token)
    harness.buildkite.cancel_job(job_id)
    vm = harness.boot("i-0008")
    harness.ended(vm)
    mail = harness.mail("i-0008")
    assert mail["stage"] == "agent_exited"
    assert mail["detail"].split()[0] in {"1", "27"}
    assert token not in mail["detail"]


def test_an_agent_token_is_read_from_its_parameter(harness: VmHarness) -> None:
    job_id, _ = harness.reserve("echo ok")
    harness.fill("i-0009", job_id, "baton", credential_kind="agent-token")
    vm = harness.boot("i-0009")
    harness.ended(vm)
    assert harness.output(job_id) == "ok\n"
    assert AGENT_TOKEN not in vm.console()


def test_an_agent_token_that_cannot_be_read_is_said(harness: VmHarness) -> None:
    job_id, _ = harness.reserve("true")
    harness.fill("i-0010", job_id, "baton", credential_kind="agent-token")
    vm = harness.boot("i-0010", header={"AGENT_TOKEN_PARAMETER": "/nowhere"})
    harness.ended(vm)
    assert harness.mail("i-0010")["stage"] == "failed"
    assert "parameter /nowhere cannot be read: AccessDeniedException" in harness.mail("i-0010")["detail"]


def test_its_lifetime_ends_it_whatever_runs(harness: VmHarness) -> None:
    job_id, token = harness.reserve("sleep 600")
    harness.fill("i-0011", job_id, token)
    vm = harness.boot("i-0011", header={"MAX_LIFETIME_SECONDS": "4"})
    harness.ended(vm)
    assert harness.buildkite.job(job_id).state == "finished"


def test_a_spot_notice_stops_the_agent_in_time(harness: VmHarness) -> None:
    job_id, token = harness.reserve("echo started; sleep 600")
    harness.fill("i-0012", job_id, token)
    vm = harness.boot("i-0012")
    wait_for(lambda: harness.buildkite.job(job_id).state == "running")
    harness.interrupt("i-0012")
    harness.ended(vm)
    job = harness.buildkite.job(job_id)
    assert (job.state, harness.output(job_id), job.signal_reason) == ("finished", "started\n", "agent_stop")
    assert "spot notice" in vm.console()
    steps = harness.steps(vm)
    assert steps.index("dynamodb:UpdateItem spot_notice") < steps.index("dynamodb:UpdateItem agent_exited")


def test_a_mailbox_that_cannot_be_reached_ends_it_too(harness: VmHarness) -> None:
    vm = harness.boot(
        "i-0014", header={"UNASSIGNED_TIMEOUT_SECONDS": "3"}, environment={"AWS_ENDPOINT_URL_DYNAMODB": NOWHERE}
    )
    harness.ended(vm)
    assert "mailbox cannot be read" in vm.console()


@pytest.mark.parametrize(
    ("attribute", "value"), [("job_id", "a b"), ("endpoint", "$(reboot)"), ("agent_tags", "a='b'"), ("endpoint", "")]
)
@pytest.mark.share(6)
def test_a_mailbox_with_strange_words_is_refused(harness: VmHarness, attribute: str, value: str) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0015", job_id, token, **{attribute: value})
    vm = harness.boot("i-0015")
    harness.ended(vm)
    assert harness.mail("i-0015")["stage"] == "failed"
    assert attribute in harness.mail("i-0015")["detail"]
    assert "credential" in harness.mail("i-0015")


@pytest.mark.parametrize(
    ("name", "value"), [("MAILBOX_TABLE", None), ("MAX_LIFETIME_SECONDS", "soon"), ("AGENT_VERSION", None)]
)
@pytest.mark.share(6)
def test_wrong_user_data_ends_at_once(harness: VmHarness, name: str, value: str | None) -> None:
    vm = harness.boot("i-0016", header={name: value})
    harness.ended(vm)
    assert name in vm.console()


def test_a_failing_agent_leaves_its_last_words_without_the_credential(harness: VmHarness, tmp_path: Path) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-0017", job_id, token)
    agent = tmp_path / "agent"
    agent.write_text(
        '#!/usr/bin/env bash\necho "panic: cannot use $(cat "${BUILDKITE_AGENT_TOKEN#file://}")"; exit 1\n'
    )
    agent.chmod(agent.stat().st_mode | stat.S_IXUSR)
    vm = harness.boot("i-0017", agent=agent)
    harness.ended(vm)
    detail = harness.mail("i-0017")["detail"]
    assert detail.startswith("1 panic: cannot use ***")
    assert token not in vm.console()
