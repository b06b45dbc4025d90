"""No secret stands among a program's arguments, which every process of the machine can read."""

import hashlib
import hmac
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.user_data import VM
from tests.vm.harness import REGION, VmHarness
from tests.vm.test_private_work import keep, yard_key

pytestmark = [pytest.mark.e2e, pytest.mark.share(2)]

WATCHED = ("base64", "curl", "cut", "gzip", "od", "openssl", "sed", "sha256sum", "ssh-add", "tee", "tr")
WATCH = """#!/bin/bash
printf '%s\\n' "$0 $*" >>"$LOCAL_VM_ROOT/arguments"
[[ $0 != */curl || $* != --version ]] || { echo "curl 7.61.1 (x86_64)"; exit; }
exec "/usr/bin/${0##*/}" "$@"
"""


def signing_keys(secret: str) -> list[str]:
    """The keys that stand between a role's secret and a signature, in hexadecimal, of today for each service."""
    found = [f"AWS4{secret}".encode()]
    for service in ("dynamodb", "ssm", "logs", "ecr"):
        key = found[0]
        for part in (f"{datetime.now(UTC):%Y%m%d}", REGION, service, "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
            found.append(key)
    return [key.hex() for key in found]


def test_a_curl_that_cannot_sign_leaves_no_key_among_arguments(harness: VmHarness, tmp_path: Path) -> None:
    keep(harness, "/private/default/ssh-key", yard_key(tmp_path / "none"))
    job_id, token = harness.reserve("true")
    harness.fill("i-1301", job_id, token)
    header = {
        "GIT_SSH_KEY_PARAMETER": "/private/{queue}/ssh-key",
        "ECR_LOGIN": "account",
        "LOG_GROUP": "/agent-stack/stack/vms",
    }
    vm = harness.boot("i-1301", files={f"bin/{name}": WATCH for name in WATCHED}, header=header)
    harness.ended(vm, seconds=60)
    assert harness.buildkite.job(job_id).state == "finished"
    arguments = (vm.directory / "arguments").read_text()
    assert "/sha256sum" in arguments
    secret = "secret+of/i-1301"
    assert [text for text in (secret, token, *signing_keys(secret)) if text in arguments] == []
    assert "hexkey" not in arguments


@settings(max_examples=15, deadline=None)
@given(
    key=st.binary(min_size=1, max_size=100),
    text=st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=40),
)
def test_signatures_are_those_of_any_other_program(key: bytes, text: str) -> None:
    script = f'set -euo pipefail; source "{VM}/requests.sh"; hmac "$1" "$2"'
    done = subprocess.run(["bash", "-c", script, "bash", key.hex(), text.encode()], capture_output=True, check=True)
    assert done.stdout.decode() == hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
