"""What a pipeline's environment cannot get at: the git key and the agent's credential, which a job may use or not need.

A job's environment reaches every shell that runs a hook. So nothing that keeps these two from it may run in a hook.
"""

import os
import re
from pathlib import Path

import pytest

from tests.simulator.buildkite import Step
from tests.vm.harness import VmHarness
from tests.vm.test_keyboard import KEY
from tests.vm.test_private_work import as_setting, keep, yard_key

pytestmark = [pytest.mark.e2e, pytest.mark.share(2)]

RUN = "/usr/bin/env -i PATH=/usr/bin:/bin"
"""How an attack gets a clean environment of its own, whatever the pipeline set to blind our hook."""

SNEAKED = "/bin/mkdir -p {loot} && /usr/bin/timeout 2 /bin/cp -f {private}/* {loot}/ 2>/dev/null; true"
"""What a start-up file, or a function in a command's place, does before our hook's first line."""

LOOK = 'for e in $(grep -las "LOCAL_VM=$0" /proc/[0-9]*/environ); do cat $e ${e%environ}cmdline; done'
"""Reads every process of this VM; the machine has others', whose jobs write what ends ours in the log."""

HOSTILE = {
    "nothing": {},
    "our directory emptied": {"AGENT_STACK_PRIVATE": ""},
    "our directory elsewhere": {"AGENT_STACK_PRIVATE": "/nonexistent"},
    "a start-up file of bash": {"BASH_ENV": "{startup}"},
    "a start-up file of sh": {"ENV": "{startup}"},
    "rm as a function": {"BASH_FUNC_rm%%": "() { SNEAKED; }"},
    "ssh-add as a function": {"BASH_FUNC_ssh-add%%": "() { SNEAKED; }"},
    "setsid as a function": {"BASH_FUNC_setsid%%": "() { SNEAKED; }"},
    "test as a function": {"BASH_FUNC_[%%": "() { SNEAKED; }"},
    "programs of its own": {"PATH": "{bin}:/usr/bin:/bin"},
    "a library that is not there": {"LD_PRELOAD": "/nonexistent.so"},
    "another locale": {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
    "shell options": {"SHELLOPTS": "xtrace", "BASHOPTS": "extdebug", "PS4": "$(SNEAKED)"},
    "a bash that does nothing": {"SHELLOPTS": "noexec"},
    "tracing": {"BUILDKITE_HOOKS_DEBUG": "true", "PROMPT_COMMAND": "SNEAKED", "PS4": "$(SNEAKED)"},
    "git's own commands": {"GIT_SSH_COMMAND": "{startup}", "GIT_ASKPASS": "{startup}", "GIT_TRACE": "1"},
    "another ssh-agent": {"SSH_AUTH_SOCK": "/nonexistent", "SSH_ASKPASS": "{startup}", "SSH_ASKPASS_REQUIRE": "force"},
    "our hook turned off": {"BUILDKITE_HOOKS_PATH": "/nonexistent", "BUILDKITE_NO_LOCAL_HOOKS": "true"},
}
"""By what the pipeline does to our hook."""

SNEAKS = {"a start-up file of bash"} | ({"shell options"} if os.geteuid() else set())
"""Those whose code runs before our hook's first line, whatever our hook does; root's bash takes no PS4 from others."""

ANOTHER_SHELL = {"AGENT_ENVIRONMENT": as_setting("BUILDKITE_SHELL=/bin/sh -c")}
"""Where bash does nothing, a command of bash's attacks nothing."""


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.share(8)
def test_an_environment_leaves_the_job_neither_the_key_nor_the_credential(
    harness: VmHarness, tmp_path: Path, what: str
) -> None:
    secret = yard_key(tmp_path / "key")
    keep(harness, "/private/default/ssh-key", secret)
    private, loot = tmp_path / "i-0950" / "run/agent-stack/private", tmp_path / "loot"
    by_environment = tmp_path / "loot-by-environment"
    sneaked = SNEAKED.format(private=private, loot=by_environment)
    startup = tmp_path / "startup"
    startup.write_text(f"#!/bin/bash\n{sneaked}\n")
    startup.chmod(0o755)
    (tmp_path / "bin").mkdir()
    for name in ("rm", "ssh-add", "sed", "timeout"):
        (tmp_path / "bin" / name).symlink_to(startup)
    environment = {
        name: value.format(startup=startup, bin=tmp_path / "bin") if "SNEAKED" not in value else value
        for name, value in HOSTILE[what].items()
    }
    environment = {name: value.replace("SNEAKED", sneaked) for name, value in environment.items()}
    command = (
        f"{RUN} /bin/bash -c '{SNEAKED.format(private=private, loot=loot)}'; "
        f"{RUN} /usr/bin/timeout 2 /bin/cat {private}/token {private}/git-ssh-key || true; "
        f"{RUN} /bin/sh -c '{LOOK}' \"$LOCAL_VM\" || true; echo; echo tried"
    )
    job_id, token = harness.reserve(Step(command=command, env={**environment, "BUILDKITE_SKIP_CHECKOUT": "true"}))
    harness.fill("i-0950", job_id, token)
    vm = harness.boot("i-0950", header=KEY | (ANOTHER_SHELL if "does nothing" in what else {}))
    harness.ended(vm, seconds=60)
    log = harness.buildkite.job(job_id).log
    assert "tried" in harness.output(job_id).splitlines(), "the attack did not run to its end"
    assert by_environment.exists() or what not in SNEAKS, "the attack by the environment did not run"
    looted = [*loot.glob("*"), *by_environment.glob("*")]
    found = "".join(path.read_text(errors="replace") for path in looted if path.is_file()) + log
    body = re.sub(r"\s", "", "".join(secret.splitlines()[1:-1]))
    assert body not in re.sub(r"\s", "", found), "the private key"
    assert token not in found, "the credential"


def test_the_key_can_be_used_and_the_ssh_agent_takes_no_library(harness: VmHarness, tmp_path: Path) -> None:
    keep(harness, "/private/default/ssh-key", yard_key(tmp_path / "key"))
    answered = "SSH_ASKPASS=/bin/true SSH_ASKPASS_REQUIRE=force"  # ssh-add asks for a PIN first
    command = f"ssh-add -l | cut -d' ' -f3; {answered} setsid -w ssh-add -s /usr/lib/libc.so.6 2>&1 || echo refused"
    job_id, token = harness.reserve(command)
    harness.fill("i-0951", job_id, token)
    vm = harness.boot("i-0951", header=KEY)
    harness.ended(vm)
    lines = harness.output(job_id).splitlines()
    assert lines[0] == "of-the-tests"
    assert lines[-1] == "refused"
    (started,) = (line for line in vm.effects() if " agent-stack-ssh " in line)
    assert "ssh-agent -D -P none " in started
    assert " -p LimitCORE=0 " in started, "its memory goes into no file"
