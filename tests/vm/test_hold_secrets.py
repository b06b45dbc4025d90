"""A VM that waits for a hold holds nothing of its job's, wherever it is killed and whatever of its programs fails."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.user_data import VM
from tests.simulator.vm.process import LocalVm
from tests.vm.harness import VmHarness
from tests.vm.left_secrets import LOGIN, SECRETS, found_in, keep_secrets
from tests.vm.order import HOLD
from tests.vm.test_every_end import kill_boot_program
from tests.vm.test_hold import asks, boot, status

pytestmark = [pytest.mark.e2e, pytest.mark.share(2)]

TAKEN = "UpdateItem credential_taken"


def kill_after(vm: LocalVm, effect: Callable[[str], bool]) -> threading.Thread:
    def watch() -> None:
        while vm.alive() and not any(effect(line) for line in vm.effects()):
            time.sleep(0.005)
        kill_boot_program(vm)

    watcher = threading.Thread(target=watch)
    watcher.start()
    return watcher


EFFECTS = (
    "dynamodb:UpdateItem failed",
    "systemctl stop agent-stack-ssh",
    "pkill",
    "pgrep",
    HOLD,
)


def test_killed_after_each_effect_of_a_hold_it_ends_and_keeps_no_secret(harness: VmHarness) -> None:
    """The login of docker goes with the processes that may use it, all else before the failure is reported."""
    secrets = keep_secrets(harness)
    vms = []
    for number, effect in enumerate(EFFECTS):
        vm = boot(harness, f"i-0a1{number}", **SECRETS)
        vms.append((vm, effect, kill_after(vm, lambda line, effect=effect: line.startswith(effect))))  # type: ignore[misc]  # mypy does not see through the default
    for vm, effect, watcher in vms:
        watcher.join()
        harness.ended(vm)
        assert any(line.startswith(effect) for line in vm.effects()), effect
        assert "held for" not in vm.console()
        assert "credential" in harness.mail(vm.directory.name), "the job is the tracker's to give to another VM"
        assert found_in(vm, [*secrets, *([LOGIN] if effect == HOLD else [])]) == [], effect


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_vm_that_asked_for_its_credential_is_not_held(harness: VmHarness, number: signal.Signals) -> None:
    """The signal comes before the answer that holds it: nothing has noted it, and the program's memory has it."""
    vms: list[LocalVm] = []
    harness.on_step = lambda _, step: kill_boot_program(vms[0], number) if TAKEN in step and vms else None
    vms.append(boot(harness, "i-0a22", AGENT_ENVIRONMENT=""))
    harness.ended(vms[0])
    assert "credential" not in harness.mail("i-0a22")
    assert not asks(harness, vms[0])
    assert not status(harness, "i-0a22").waits


DRIVER = r"""
set -u
ENVIRONMENT=$2/agent.env PRIVATE=$2/private AGENT_UNIT=agent AGENT_USER=job PATH=$2/bin HOLD_ON_FAILURE_MINUTES=9
now=0
tick() { now=$((now + 1)); }
sleep() { :; }
say() { echo "$*"; }
report() { :; }
systemctl() { false; }
id() { :; }
pkill() { return 1; }
pgrep() { return 1; }
rm() { /bin/rm "$@"; }
keep_journal() { echo "waits for the tracker"; exit; }
eval "$3"
source "$1/hold.sh"
await_hold
"""
"""The machine as it is when nothing of the job is left but its files; the third argument changes it."""


def waits(directory: Path, change: str) -> bool:
    """Whether a VM with that change goes on to wait for a hold."""
    (directory / "private").mkdir()
    (directory / "agent.env").write_text("TOKEN=of-the-job")
    done = subprocess.run(
        ["/bin/bash", "-c", DRIVER, "bash", VM, directory, change], capture_output=True, text=True, check=True
    )
    waited = "waits for the tracker\n" in done.stdout
    assert ("not held: " in done.stdout) is not waited, done
    assert not waited or not list(directory.iterdir())
    return waited


@pytest.mark.parametrize("change", [":", "id() { return 1; }; pgrep() { return 2; }", "pkill() { :; }"])
def test_where_nothing_of_the_job_is_left_it_waits(tmp_path: Path, change: str) -> None:
    """Also where the boot failed before there was a user: pgrep knows no such name then."""
    assert waits(tmp_path, change)


@pytest.mark.parametrize(
    "change",
    [
        "unset -f pkill",
        "unset -f pgrep",
        *(f"pgrep() {{ return {code}; }}" for code in (0, 2, 3, 127, 137)),
        "rm() { return 1; }",
        "rm() { :; }",
        """rm() { [[ $2 != */agent.env ]] || shift; /bin/rm "$@"; }""",
    ],
)
def test_where_it_is_not_known_that_nothing_is_left_it_does_not_wait(tmp_path: Path, change: str) -> None:
    assert not waits(tmp_path, change)
