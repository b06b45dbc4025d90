"""The boot program is killed after each of its steps, preparation and private work included: the VM always ends.

Two dozen VMs boot in here, one for each step; they take a processor's time, so more at once would not be sooner. Each
commit kills after every fourth step, because a neighbour differs in one step.
"""

import threading
import time
from pathlib import Path

import pytest

from tests.simulator.buildkite import JobState
from tests.simulator.simulation.rotation import of_turn
from tests.simulator.vm.process import LocalVm
from tests.vm.harness import BUCKET, VmHarness, wait_for
from tests.vm.test_every_end import kill_boot_program
from tests.vm.test_private_work import bundle, keep, put, yard_key

pytestmark = [pytest.mark.e2e, pytest.mark.share(2)]

EVERYTHING: dict[str, str | None] = {
    "BOOTSTRAP_URL": f"s3://{BUCKET}/bootstrap",
    "PACKAGES": "git,docker",
    "HOOKS_URL": f"s3://{BUCKET}/hooks.tar.gz",
    "GIT_SSH_KEY_PARAMETER": "/private/{queue}/ssh-key",
    "JOB_ENVIRONMENT_PARAMETER": "/private/environment",
    "ECR_LOGIN": "account",
    "JOB_SUDO": "allowed",
    "LOG_GROUP": "/agent-stack/stack/vms",
}
AT_ONCE = 6
TURNS = 4
TAKEN = "dynamodb:UpdateItem credential_taken"
OWN_END = "systemctl poweroff"


SSH_AGENT = "agent-stack-ssh"


def boot(harness: VmHarness, instance_id: str) -> tuple[LocalVm, str]:
    job_id, token = harness.reserve("sleep 0.5")
    harness.fill(instance_id, job_id, token)
    return harness.boot(instance_id, header=EVERYTHING), job_id


def kill_after(vm: LocalVm, effects: int) -> threading.Thread:
    """Kill its boot program once it has done so much that others can see."""

    def watch() -> None:
        while len(vm.effects()) < effects and vm.alive():
            time.sleep(0.01)
        kill_boot_program(vm)

    watcher = threading.Thread(target=watch)
    watcher.start()
    return watcher


@pytest.mark.share(TURNS)
@pytest.mark.parametrize("turn", range(TURNS))
def test_killed_after_any_step_it_ends_and_the_job_is_one_agents_or_nobodys(
    harness: VmHarness, tmp_path: Path, turn: int
) -> None:
    keep(harness, "/private/default/ssh-key", yard_key(tmp_path / "none"))
    put(harness, "bootstrap", b"#!/bin/sh\n")
    put(harness, "hooks.tar.gz", bundle(pre_command="#!/bin/sh\n"))
    keep(harness, "/private/environment", "NAME=value\n")
    whole, _ = boot(harness, "i-0500")
    harness.ended(whole)
    effects = whole.effects()
    last = next(number for number, effect in enumerate(effects) if effect == OWN_END)
    assert last >= 20, effects
    assert SSH_AGENT in harness.steps(whole)
    numbers = of_turn(range(1, last + 1), turn, TURNS)
    for first in range(0, len(numbers), AT_ONCE):
        killed = []
        for number in numbers[first : first + AT_ONCE]:
            vm, job_id = boot(harness, f"i-05{number:02}")
            killed.append((vm, job_id, f"i-05{number:02}", kill_after(vm, number)))
        for vm, job_id, instance_id, watcher in killed:
            watcher.join()
            harness.ended(vm)
            agents = [agent for agent in harness.buildkite.agents() if agent.name == f"stack-{instance_id}"]
            untouched = "credential" in harness.mail(instance_id)
            assert untouched == (TAKEN not in harness.steps(vm)), instance_id
            assert len(agents) <= (0 if untouched else 1), instance_id
            job = harness.buildkite.job(job_id)
            assert job.state is (JobState.FINISHED if job.agent_id else JobState.RESERVED), (instance_id, job.state)


def killed_at(harness: VmHarness, instance_id: str, step: str, command: str) -> tuple[list[LocalVm], str]:
    """A VM whose boot program is killed at that step, before its answer; it is in the list once it is booted."""
    vms: list[LocalVm] = []
    harness.on_step = lambda _, seen: kill_boot_program(vms[0]) if seen == step and vms else None
    job_id, token = harness.reserve(command)
    harness.fill(instance_id, job_id, token)
    vms.append(harness.boot(instance_id))
    return vms, job_id


def test_killed_at_a_spot_notice_the_agent_still_ends_its_job(harness: VmHarness) -> None:
    (vm,), job_id = killed_at(harness, "i-0591", "dynamodb:UpdateItem spot_notice", "echo started; sleep 600")
    wait_for(lambda: harness.output(job_id) == "started\n")
    harness.interrupt("i-0591")
    harness.ended(vm)
    assert "dynamodb:UpdateItem spot_notice" in harness.steps(vm)
    assert "dynamodb:UpdateItem agent_exited" not in harness.steps(vm)
    assert harness.buildkite.job(job_id).state is JobState.FINISHED


def test_killed_after_it_lost_the_credential_no_agent_comes(harness: VmHarness) -> None:
    losses = iter([True])
    harness.aws.front.lose_answer = lambda asked: (
        "credential" in asked.context.get("dynamodb:Attributes", ()) and next(losses, False)
    )
    (vm,), job_id = killed_at(harness, "i-0592", "dynamodb:UpdateItem credential_lost", "true")
    harness.ended(vm)
    assert "dynamodb:UpdateItem credential_lost" in harness.steps(vm)
    assert "credential" not in harness.mail("i-0592")
    assert harness.buildkite.agents() == ()
    assert harness.buildkite.job(job_id).state is JobState.RESERVED
