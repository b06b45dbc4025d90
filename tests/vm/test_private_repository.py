"""A private repository, checked out by the agent over SSH on loopback with the key that the VM fetched for its job."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.simulator.buildkite import Step
from tests.vm.harness import VmHarness

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/bin:/sbin")

pytestmark = [pytest.mark.e2e, pytest.mark.share(2), pytest.mark.skipif(SSHD is None, reason="there is no sshd here")]


def test_a_job_checks_it_out_with_a_key_that_it_cannot_read(harness: VmHarness, tmp_path: Path) -> None:
    key, source = private_key(tmp_path / "operator"), repository(tmp_path / "operator")
    with ssh_server(tmp_path / "server", key.with_suffix(".pub")) as port:
        harness.aws.client("ssm").put_parameter(
            Name="/private/default/ssh-key", Value=key.read_text(), Type="SecureString", Overwrite=True
        )
        environment = {
            "BUILDKITE_REPO": f"ssh://{getpass.getuser()}@127.0.0.1:{port}{source}",
            "BUILDKITE_SKIP_CHECKOUT": "false",
            "GIT_SSH_COMMAND": f"ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile={tmp_path}/known"
            " -o IdentityFile=none",
        }
        command = 'cat secret; ls -A "$AGENT_STACK_PRIVATE"'
        job_id, token = harness.reserve(Step(command=command, env=environment))
        harness.fill("i-0501", job_id, token)
        vm = harness.boot("i-0501", header={"GIT_SSH_KEY_PARAMETER": "/private/{queue}/ssh-key"})
        harness.ended(vm)
    assert "the plan\n" in harness.output(job_id)
    assert harness.buildkite.job(job_id).exit_status == 0
    assert "git-ssh-key" not in harness.buildkite.job(job_id).log


def _run(*command: str | Path, cwd: Path) -> None:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True)


def private_key(directory: Path) -> Path:
    """A key pair, and a directory for it."""
    directory.mkdir()
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key", cwd=directory)
    return directory / "key"


def repository(directory: Path) -> Path:
    """A repository with one file."""
    work = directory / "work"
    work.mkdir()
    (work / "secret").write_text("the plan\n")
    _run("git", "init", "-q", cwd=work)
    _run("git", "add", "secret", cwd=work)
    _run("git", "-c", "user.name=o", "-c", "user.email=o@example.com", "commit", "-q", "-m", "plan", cwd=work)
    _run("git", "clone", "-q", "--bare", work, directory / "repository.git", cwd=directory)
    return directory / "repository.git"


@contextmanager
def ssh_server(directory: Path, public_key: Path) -> Iterator[int]:
    """Its port on loopback, where that key opens a session."""
    directory.mkdir()
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "host", cwd=directory)
    (directory / "authorized").write_text(public_key.read_text())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    (directory / "config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {directory}/host\nAuthorizedKeysFile {directory}/authorized\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\n"
    )
    if getpass.getuser() == "root":
        Path("/run/sshd").mkdir(exist_ok=True)  # of sshd's own when it runs as root
    server = subprocess.Popen([str(SSHD), "-D", "-e", "-f", directory / "config"], stderr=subprocess.DEVNULL)
    try:
        retry_until = time.monotonic() + 5
        while time.monotonic() < retry_until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait()
