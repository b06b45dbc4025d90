"""Between the order to start the agent and its start: what arrives then is not lost."""

import subprocess
from pathlib import Path

import pytest

from infra.user_data import VM
from tests.simulator.buildkite import JobState
from tests.vm.harness import VmHarness
from tests.vm.test_private_work import SHIMS

pytestmark = [pytest.mark.e2e, pytest.mark.share(2)]

STARTED_LATE = """#!/bin/bash
if [[ $* == *" agent-stack-agent "* ]]; then
  until grep -q 'is-active.*agent-stack-agent' "$LOCAL_VM_ROOT/effects.log"; do sleep 0.05; done
  {happens}
  sleep 0.5
fi
exec {shim} "$@"
"""
"""A systemd that takes its time for the agent's unit; the program that asked for it has gone on to wait for it."""


def starts_late(directory: Path, happens: str) -> str:
    """A PATH on which that happens before the agent's unit starts."""
    programs = directory / "late"
    programs.mkdir()
    for shim in SHIMS.iterdir():
        if shim.name != "systemd-run":
            (programs / shim.name).symlink_to(shim)
    late = programs / "systemd-run"
    late.write_text(STARTED_LATE.format(happens=happens, shim=SHIMS / "systemd-run"))
    late.chmod(0o755)
    return f"{programs}:{directory / 'i-1301' / 'bin'}:/usr/bin:/bin"


def test_a_signal_before_the_agent_began_stops_it_once_it_did(harness: VmHarness, tmp_path: Path) -> None:
    job_id, token = harness.reserve("sleep 600")
    harness.fill("i-1301", job_id, token)
    vm = harness.boot("i-1301", environment={"PATH": starts_late(tmp_path, "kill -TERM $PPID")})
    harness.ended(vm)
    assert "received SIGTERM" in vm.console()
    assert harness.mail("i-1301")["stage"] == "agent_exited"


def test_a_power_off_before_the_agent_began_lets_none_begin(harness: VmHarness, tmp_path: Path) -> None:
    job_id, token = harness.reserve("sleep 600")
    harness.fill("i-1301", job_id, token)
    vm = harness.boot("i-1301", environment={"PATH": starts_late(tmp_path, "systemctl poweroff")})
    harness.ended(vm)
    assert harness.mail("i-1301")["stage"] == "failed"
    assert harness.mail("i-1301")["detail"] == "agent cannot be started: code 1"
    assert harness.buildkite.agents() == ()
    assert harness.buildkite.job(job_id).state is JobState.RESERVED


OFFERED = r"""
set -euo pipefail
PRIVATE=$2 credential=secret
source "$1/agent.sh"
give_credential
wait
cat "$PRIVATE/token"
"""


def test_a_credential_that_nobody_reads_keeps_nobody_waiting(tmp_path: Path) -> None:
    """A signal that meets the agent's end makes bash's `wait -n` wait for any child: it must have no other."""
    command = ["bash", "-c", OFFERED, "bash", str(VM), str(tmp_path)]
    done = subprocess.run(command, check=True, timeout=20, stdout=subprocess.PIPE, text=True)
    assert done.stdout == "secret"
