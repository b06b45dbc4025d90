"""An agent whose digest this stack knows is judged by it, whatever its mirror publishes."""

import gzip
import hashlib
import re

import pytest

from infra.pin_agent import DIGESTS
from infra.user_data import second_stage
from tests.simulator.vm.process import AGENT_STUB
from tests.vm.harness import MACHINE, UNPINNED, VmHarness, download_server

pytestmark = [pytest.mark.e2e, pytest.mark.share(2)]


def program_that_knows(digest: str) -> str:
    """The second stage with that digest of the version that tests install."""
    text, count = re.subn(
        r"(<<'DIGESTS'\n)(?:[^\n]+ [^\n]+\n)*(DIGESTS\n)", rf"\g<1>{UNPINNED} {MACHINE} {digest}\n\2", second_stage()
    )
    assert count == 1
    return text


@pytest.mark.parametrize("known", ["the agent's", "another"])
def test_a_mirror_whose_checksum_fits_its_agent_is_not_trusted(harness: VmHarness, known: str) -> None:
    digest = hashlib.sha256(AGENT_STUB.read_bytes() if known == "the agent's" else b"what was released").hexdigest()
    program = program_that_knows(digest)
    sha256 = hashlib.sha256(program.encode()).hexdigest()
    harness.aws.publish(gzip.compress(program.encode()), sha256=sha256)
    job_id, token = harness.reserve("echo ok")
    harness.fill("i-1501", job_id, token)
    with download_server(AGENT_STUB.read_bytes()) as mirror:
        header = {"AGENT_DOWNLOAD_URL": mirror.origin, "PROGRAM_SHA256": sha256}
        vm = harness.boot("i-1501", agent=None, header=header)
        harness.ended(vm)
    if known == "the agent's":
        assert harness.output(job_id) == "ok\n"
    else:
        actual = hashlib.sha256(AGENT_STUB.read_bytes()).hexdigest()
        assert harness.mail("i-1501")["detail"] == (
            f"{mirror.origin}/{UNPINNED}/buildkite-agent-linux-{MACHINE} has the digest {actual[:12]}..., "
            f"and this stack knows {digest[:12]}.... Set AgentDownloadUrl to another mirror, "
            f"or run scripts/pin-agent {UNPINNED} and deploy"
        )
        assert "credential" in harness.mail("i-1501")
        assert harness.buildkite.agents() == ()


def test_a_version_whose_digest_is_not_known_is_said(harness: VmHarness) -> None:
    job_id, token = harness.reserve("true")
    harness.fill("i-1502", job_id, token)
    with download_server(AGENT_STUB.read_bytes()) as mirror:
        vm = harness.boot("i-1502", agent=None, header={"AGENT_DOWNLOAD_URL": mirror.origin})
        harness.ended(vm)
    assert f"agent {UNPINNED}: its digest is not known here" in vm.console()


def test_every_known_digest_is_one() -> None:
    lines = [line for line in DIGESTS.read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+\S* (amd64|arm64) [0-9a-f]{64}", line) for line in lines)
    assert len({line.rpartition(" ")[0] for line in lines}) == len(lines)
