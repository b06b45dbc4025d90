"""A VM whose boot failed stays up when the tracker says so, without its job's secrets, and ends in any case."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from agent_stack.adapters.dynamodb import DynamoMailbox, Table
from agent_stack.domain.identifiers import InstanceArn
from agent_stack.domain.states import BootStage
from agent_stack.domain.vms import MailboxStatus
from tests.contract.tables import dynamo_calls
from tests.simulator.clock import VirtualClock
from tests.simulator.vm.process import LocalVm
from tests.vm.harness import VmHarness, arn, wait_for
from tests.vm.left_secrets import LOGIN, SECRETS, found_in, keep_secrets
from tests.vm.order import HOLD, POWER_OFF
from tests.vm.test_every_end import kill_boot_program
from tests.vm.test_private_work import as_setting

pytestmark = [pytest.mark.e2e, pytest.mark.share(4)]

HELD = {"HOLD_ON_FAILURE_MINUTES": "10"}
FAILS = {"AGENT_ENVIRONMENT": as_setting("no setting")}
"""The last thing that can go wrong before the credential is taken: all secrets are on the VM."""


def boot(harness: VmHarness, instance_id: str, *, wait: str = "60", **header: str) -> LocalVm:
    job_id, token = harness.reserve("true")
    harness.fill(instance_id, job_id, token)
    return harness.boot(instance_id, header={**HELD, **FAILS, **header}, environment={"HOLD_VERDICT_SECONDS": wait})


def mailbox(harness: VmHarness) -> DynamoMailbox:
    """As the tracker uses it."""
    clock = VirtualClock()
    name = harness.aws.deployed.mailbox_table
    return DynamoMailbox(table=Table(client=harness.aws.dynamodb, calls=dynamo_calls(clock), name=name), clock=clock)


def hold(harness: VmHarness, instance_id: str, seconds: int) -> bool:
    """What the tracker does, in its order."""
    box, key = mailbox(harness), InstanceArn(arn(instance_id))
    return box.revoke_credential(key) and box.hold(key, seconds)


def status(harness: VmHarness, instance_id: str) -> MailboxStatus:
    key = InstanceArn(arn(instance_id))
    return mailbox(harness).read([key])[key]


def asks(harness: VmHarness, vm: LocalVm) -> bool:
    return HOLD in harness.steps(vm)


def command(process: psutil.Process) -> list[str]:
    """Its words; none when it has ended meanwhile."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def sleeping(vm: LocalVm) -> list[psutil.Process]:
    return [process for process in vm.processes() if command(process)[:1] == ["sleep"]]


def becomes_a_sleep(vm: LocalVm, seconds: int) -> bool:
    return any(command(process) == ["sleep", str(seconds)] for process in sleeping(vm))


def test_it_stays_up_without_the_jobs_secrets_and_ends_at_its_time(harness: VmHarness) -> None:
    secrets = keep_secrets(harness)
    vm = boot(harness, "i-0a01", **SECRETS)
    wait_for(lambda: asks(harness, vm))
    said = status(harness, "i-0a01")
    assert said.waits
    assert said.stage is BootStage.FAILED
    assert said.detail == "parameter AgentEnvironment, line 1 is not NAME=value"
    assert hold(harness, "i-0a01", 4)
    wait_for(lambda: becomes_a_sleep(vm, 4))
    assert [process.name() for process in vm.processes() if process.name() in {"bash", "ssh-agent"}] == []
    assert found_in(vm, [*secrets, LOGIN]) == []
    assert not [path for path in vm.directory.rglob("*") if path.is_socket() or path.is_fifo()]
    harness.ended(vm)
    steps = harness.steps(vm)
    assert steps.index("dynamodb:UpdateItem failed") < steps.index("systemctl stop agent-stack-ssh")
    assert steps.index("systemctl stop agent-stack-ssh") < steps.index("pkill -KILL -u buildkite-agent")
    assert POWER_OFF not in steps, "the end of the sleep is what powers off"
    assert "held for 4 s" in vm.console()


def test_an_images_own_docker_configuration_is_none_of_the_jobs_secrets(harness: VmHarness) -> None:
    own = '{"auths":{"registry.example":{"auth":"of-the-image"}}}'
    job_id, token = harness.reserve("true")
    harness.fill("i-0a20", job_id, token)
    header = {**HELD, **FAILS, "ECR_LOGIN": "account"}
    vm = harness.boot("i-0a20", header=header, files={"home/.docker/config.json": own})
    wait_for(lambda: asks(harness, vm))
    assert (vm.directory / "home/.docker/config.json").read_text() == own
    assert not (vm.directory / "run/agent-stack/private").exists()
    assert hold(harness, "i-0a20", 1)
    harness.ended(vm)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed_between_the_verdict_and_the_sleep_it_ends(harness: VmHarness, number: signal.Signals) -> None:
    """It ships the end of its log then, and the signal comes before CloudWatch has answered."""
    vms: list[LocalVm] = []

    def kill(_: str, step: str) -> None:
        if step.startswith("logs:PutLogEvents") and vms and "held for" in vms[0].console():
            kill_boot_program(vms[0], number)

    harness.on_step = kill
    vms.append(boot(harness, "i-0a21", LOG_GROUP="/agent-stack/stack/vms"))
    wait_for(lambda: asks(harness, vms[0]))
    assert hold(harness, "i-0a21", 500)
    harness.ended(vms[0])
    assert "held for 500 s" in vms[0].console()
    assert "credential" not in harness.mail("i-0a21"), "the tracker has it"


def test_without_a_verdict_it_powers_off_as_always(harness: VmHarness) -> None:
    vm = boot(harness, "i-0a02", wait="3")
    harness.ended(vm)
    assert asks(harness, vm)
    assert harness.steps(vm)[-1] == POWER_OFF
    assert "not held" in vm.console()


def test_without_the_setting_it_does_not_wait(harness: VmHarness) -> None:
    vm = boot(harness, "i-0a03", HOLD_ON_FAILURE_MINUTES="0")
    harness.ended(vm)
    assert not asks(harness, vm)
    assert not status(harness, "i-0a03").waits


def test_told_to_end_while_it_waits_it_ends_at_once(harness: VmHarness) -> None:
    """As when the tracker terminates it: EC2 shuts the system down, and that must not take the whole wait."""
    vm = boot(harness, "i-0a04")
    wait_for(lambda: asks(harness, vm))
    began = time.monotonic()
    kill_boot_program(vm, signal.SIGTERM)
    harness.ended(vm)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_the_held_program_ends_the_vm(harness: VmHarness, number: signal.Signals) -> None:
    vm = boot(harness, "i-0a05")
    wait_for(lambda: asks(harness, vm))
    hold(harness, "i-0a05", 500)
    wait_for(lambda: becomes_a_sleep(vm, 500))
    for process in sleeping(vm):
        process.send_signal(number)
    harness.ended(vm)


def test_its_lifetime_ends_a_held_vm(harness: VmHarness) -> None:
    vm = boot(harness, "i-0a06", MAX_LIFETIME_SECONDS="8")
    wait_for(lambda: asks(harness, vm))
    hold(harness, "i-0a06", 500)
    wait_for(lambda: becomes_a_sleep(vm, 500))
    harness.ended(vm)


@pytest.mark.parametrize("seconds", [0, -5, 601, 99_999])
@pytest.mark.share(6)
def test_a_verdict_that_its_user_data_does_not_allow_is_none(harness: VmHarness, seconds: int) -> None:
    vm = boot(harness, "i-0a07", wait="4")
    wait_for(lambda: asks(harness, vm))
    hold(harness, "i-0a07", seconds)
    harness.ended(vm)
    assert "not held" in vm.console()


def test_a_vm_that_took_its_credential_is_not_held(harness: VmHarness) -> None:
    """Here the agent cannot be started. A job may have run on such a VM, and its memory may hold the credential."""
    job_id, token = harness.reserve("true")
    harness.fill("i-0a08", job_id, token)
    vm = harness.boot("i-0a08", agent=None, header=HELD, files={"bin/buildkite-agent": "#!/nowhere\n"})
    harness.ended(vm)
    assert harness.mail("i-0a08")["stage"] in {"failed", "agent_exited"}
    assert "credential" not in harness.mail("i-0a08")
    assert not asks(harness, vm)
    assert not status(harness, "i-0a08").waits
    assert not hold(harness, "i-0a08", 60), "the mailbox does not take a hold of it either"
    assert "hold_seconds" not in harness.mail("i-0a08")


def test_a_process_of_the_jobs_user_that_cannot_be_ended_forbids_the_hold(harness: VmHarness) -> None:
    lies = {"bin/pgrep": "#!/bin/sh\nexit 0\n"}
    job_id, token = harness.reserve("true")
    harness.fill("i-0a09", job_id, token)
    shims = Path(__file__).resolve().parents[1] / "simulator" / "vm" / "shims"
    own = harness.directory / "i-0a09" / "bin"
    path = f"{own}:{shims}:{os.defpath}"
    vm = harness.boot("i-0a09", header={**HELD, **FAILS}, files=lies, environment={"PATH": path})
    harness.ended(vm, seconds=40)
    assert not asks(harness, vm)
    assert "not held: the job's user or its secrets are still there" in vm.console()
