"""Nothing waits for a keyboard, and what the job has set already is added to."""

import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.simulator.buildkite import Step
from tests.vm.harness import VmHarness, wait_for
from tests.vm.test_private_work import keep, yard_key

pytestmark = [pytest.mark.e2e, pytest.mark.share(2)]

ASKS = """#!/bin/bash
[[ $1 != -l ]] || exit 2
if : 2>/dev/null </dev/tty; then echo "$0" >>"$LOCAL_VM_ROOT/could-ask"; fi
read -r answer </dev/tty || exit 1
"""
KEY = {"GIT_SSH_KEY_PARAMETER": "/private/{queue}/ssh-key"}


def key_with_passphrase(directory: Path) -> str:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", directory / "locked"],
        check=True,
        capture_output=True,
    )
    return (directory / "locked").read_text()


@pytest.mark.parametrize("damage", ["passphrase", "cut"])
def test_a_key_that_cannot_be_used_is_refused_before_the_credential(
    harness: VmHarness, tmp_path: Path, damage: str
) -> None:
    key = key_with_passphrase(tmp_path) if damage == "passphrase" else yard_key(tmp_path / "none")[:200]
    keep(harness, "/private/default/ssh-key", key)
    job_id, token = harness.reserve("true")
    harness.fill("i-0801", job_id, token)
    vm = harness.boot("i-0801", header=KEY)
    harness.ended(vm)
    assert "parameter /private/default/ssh-key holds a private key" in harness.mail("i-0801")["detail"]
    assert "credential" in harness.mail("i-0801")


def test_a_key_with_a_windows_editors_line_ends_is_used(harness: VmHarness, tmp_path: Path) -> None:
    keep(harness, "/private/default/ssh-key", yard_key(tmp_path / "none").rstrip("\n").replace("\n", "\r\n"))
    job_id, token = harness.reserve("ssh-add -l | cut -d' ' -f3")
    harness.fill("i-0802", job_id, token)
    vm = harness.boot("i-0802", header=KEY)
    harness.ended(vm)
    assert harness.output(job_id) == "of-the-tests\n"


def test_a_program_of_the_boot_program_that_asks_gets_no_answer(harness: VmHarness, tmp_path: Path) -> None:
    keep(harness, "/private/default/ssh-key", yard_key(tmp_path / "none"))
    job_id, token = harness.reserve("true")
    harness.fill("i-0803", job_id, token)
    vm = harness.boot("i-0803", header=KEY, files={"bin/ssh-add": ASKS})
    harness.ended(vm)
    assert "holds a private key" in harness.mail("i-0803")["detail"]
    assert "credential" in harness.mail("i-0803")
    assert not (vm.directory / "could-ask").exists(), "there was a terminal"


def test_a_program_of_the_boot_program_that_hangs_is_ended(harness: VmHarness, tmp_path: Path) -> None:
    keep(harness, "/private/default/ssh-key", yard_key(tmp_path / "none"))
    job_id, token = harness.reserve("true")
    harness.fill("i-0804", job_id, token)
    vm = harness.boot("i-0804", header=KEY, files={"bin/ssh-add": "#!/bin/sh\nexec sleep 600\n"})
    harness.ended(vm)
    assert harness.mail("i-0804")["stage"] == "failed"


def test_an_ssh_agent_that_does_not_start_is_told_of(harness: VmHarness, tmp_path: Path) -> None:
    keep(harness, "/private/default/ssh-key", yard_key(tmp_path / "none"))
    job_id, token = harness.reserve("true")
    harness.fill("i-0808", job_id, token)
    vm = harness.boot("i-0808", header=KEY, files={"bin/ssh-agent": "#!/bin/sh\nexit 1\n"})
    harness.ended(vm)
    assert "ssh-agent does not answer" in harness.mail("i-0808")["detail"]


def test_the_jobs_git_settings_are_added_to(harness: VmHarness) -> None:
    keep(harness, "/private/git-credentials", "https://x-token:s3cr3t@git.example")
    environment = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "user.name",
        "GIT_CONFIG_VALUE_0": "of the job",
        "BUILDKITE_SKIP_CHECKOUT": "true",
    }
    command = (
        "git config user.name; printf 'protocol=https\\nhost=git.example\\n\\n' | git credential fill | grep password"
    )
    job_id, token = harness.reserve(Step(command=command, env=environment))
    harness.fill("i-0805", job_id, token)
    vm = harness.boot("i-0805", header={"GIT_CREDENTIALS_PARAMETER": "/private/git-credentials"})
    harness.ended(vm)
    assert harness.output(job_id) == "of the job\npassword=s3cr3t\n"


def test_the_jobs_ssh_command_and_its_ssh_agent_stay(harness: VmHarness, tmp_path: Path) -> None:
    keep(harness, "/private/default/ssh-key", yard_key(tmp_path / "none"))
    with tempfile.TemporaryDirectory(prefix="s-") as short:  # a socket's path may have 108 characters
        theirs = Path(short) / "agent"
        with subprocess.Popen(["ssh-agent", "-D", "-a", theirs], stdout=subprocess.DEVNULL) as agent:
            wait_for(theirs.exists)
            environment = {"GIT_SSH_COMMAND": "ssh -v", "SSH_AUTH_SOCK": str(theirs), "BUILDKITE_SKIP_CHECKOUT": "true"}
            command = 'echo "$GIT_SSH_COMMAND"; echo "$SSH_AUTH_SOCK"; ssh-add -l'
            job_id, token = harness.reserve(Step(command=command, env=environment))
            harness.fill("i-0806", job_id, token)
            vm = harness.boot("i-0806", header=KEY)
            harness.ended(vm)
            agent.terminate()
    ssh, socket, key = harness.output(job_id).splitlines()
    assert ssh.startswith("ssh -v"), "version 4 of the agent adds to it, too"
    assert (socket, key) == (str(theirs), "The agent has no identities.")


@pytest.mark.parametrize("theirs", ["file", "directory", "none"])
@pytest.mark.share(6)
def test_the_jobs_docker_settings_are_added_to(harness: VmHarness, tmp_path: Path, theirs: str) -> None:
    directory = tmp_path / "i-0807" / "theirs"
    docker = '#!/bin/bash\necho "docker $*" >>"$LOCAL_VM_ROOT/docker.log"\n'
    files = {"bin/docker": docker}
    if theirs == "file":
        files["theirs/config.json"] = '{"detachKeys": "ctrl-x"}'
    environment = {"BUILDKITE_SKIP_CHECKOUT": "true"} | ({} if theirs == "none" else {"DOCKER_CONFIG": str(directory)})
    job_id, token = harness.reserve(
        Step(command='echo "$DOCKER_CONFIG"; cat "${DOCKER_CONFIG:-$HOME/.docker}/config.json"', env=environment)
    )
    harness.fill("i-0807", job_id, token)
    vm = harness.boot("i-0807", header={"ECR_LOGIN": "account", "JOB_DOCKER": "denied"}, files=files)
    harness.ended(vm)
    where, config = harness.output(job_id).split("\n", 1)
    logged_in = vm.directory / "docker.log"
    if theirs == "file":
        assert where == str(directory)
        assert "detachKeys" in config
        assert "docker login --username AWS --password-stdin" in logged_in.read_text()
    else:
        assert '"auth"' in config
        assert not logged_in.exists()
        assert (where == str(directory)) == (theirs == "directory")
