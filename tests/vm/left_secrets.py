"""All secrets that a VM of a job may get, and where it left them."""

import os
from pathlib import Path

from tests.simulator.vm.process import LocalVm
from tests.vm.harness import VmHarness
from tests.vm.test_private_work import keep, yard_key

SECRETS = {
    "GIT_SSH_KEY_PARAMETER": "/private/{queue}/ssh-key",
    "GIT_CREDENTIALS_PARAMETER": "/private/git-credentials",
    "JOB_ENVIRONMENT_PARAMETER": "/private/environment",
    "SIGNING_KEY_PARAMETER": "/private/signing-key",
    "ECR_LOGIN": "account",
}
LOGIN = '"auth":"'
"""Of docker, as a file holds it."""


def keep_secrets(harness: VmHarness) -> list[str]:
    """A part of each of the secrets that the store holds now."""
    key = yard_key(Path(os.environ.get("TMPDIR", "/tmp")) / "never-written")
    keep(harness, "/private/default/ssh-key", key)
    keep(harness, "/private/git-credentials", "https://x-token:s3cr3t@git.example")
    keep(harness, "/private/environment", "PASSWORD=hunter2\n")
    keep(harness, "/private/signing-key", '{"keys": ["of-the-tests"]}')
    return [key.splitlines()[1], "s3cr3t", "hunter2", "of-the-tests"]


def found_in(vm: LocalVm, secrets: list[str]) -> list[tuple[str, str]]:
    """Which of them is in which of its files."""
    files = [path for path in vm.directory.rglob("*") if path.is_file() and "program" not in path.name]
    texts = [(path.name, path.read_text(errors="replace")) for path in files]
    return [(name, secret) for name, text in texts for secret in secrets if secret in text]
