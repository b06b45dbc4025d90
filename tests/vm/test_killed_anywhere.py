"""The boot program is killed after each of its steps, preparation and private work included: the VM always ends.

Two dozen VMs boot in here, one for each step; they take a processor's time, so more at once would not be sooner.
"""

import threading
import time

import pytest

from tests.simulator.buildkite import JobState
from tests.simulator.vm.process import LocalVm
from tests.vm.harness import BUCKET, VmHarness
from tests.vm.test_every_end import kill_boot_program
from tests.vm.test_private_work import bundle, keep, put

pytestmark = pytest.mark.e2e

EVERYTHING: dict[str, str | None] = {
    "BOOTSTRAP_URL": f"s3://{BUCKET}/bootstrap",
    "PACKAGES": "git,docker",
    "HOOKS_URL": f"s3://{BUCKET}/hooks.tar.gz",
    "JOB_ENVIRONMENT_PARAMETER": "/private/environment",
    "ECR_LOGIN": "account",
    "JOB_SUDO": "allowed",
    "LOG_GROUP": "/agent-stack/stack/vms",
}
AT_ONCE = 6
TAKEN = "dynamodb:UpdateItem credential_taken"
OWN_END = "systemctl poweroff"


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


def test_killed_after_any_step_it_ends_and_the_job_is_one_agents_or_nobodys(harness: VmHarness) -> None:
    put(harness, "bootstrap", b"#!/bin/sh\n")
    put(harness, "hooks.tar.gz", bundle(pre_command="#!/bin/sh\n"))
    keep(harness, "/private/environment", "NAME=value\n")
    whole, _ = boot(harness, "i-0500")
    harness.ended(whole)
    effects = whole.effects()
    last = next(number for number, effect in enumerate(effects) if effect == OWN_END)
    assert last >= 20, effects
    for first in range(1, last + 1, AT_ONCE):
        killed = []
        for number in range(first, min(first + AT_ONCE, last + 1)):
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
