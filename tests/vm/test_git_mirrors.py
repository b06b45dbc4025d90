"""Git mirrors on a VM that boots: a seed is fetched, unpacked as the job's user and used by the checkout, or is not."""

import re
from pathlib import Path

import pytest

from tests.simulator.buildkite import Step
from tests.vm.harness import VmHarness
from tests.vm.seeds import archive, commit, git, mirror, repository

pytestmark = [pytest.mark.e2e, pytest.mark.share(3)]

BUCKET = "seeds"


def url_of(server: Path) -> str:
    """With a protocol, so that git sends objects as over a network."""
    return f"file://{server}"


def name_of(server: Path) -> str:
    return re.sub("[^A-Za-z0-9]", "-", url_of(server))


@pytest.fixture
def server(harness: VmHarness, tmp_path: Path) -> Path:
    """A repository whose seed is in the bucket, and one commit that is newer."""
    made = repository(tmp_path / "server")
    s3 = harness.aws.client("s3")
    if BUCKET not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(
        Bucket=BUCKET,
        Key=f"git-mirror-seeds/{name_of(made)}.tar",
        Body=archive(mirror(made, tmp_path / "made"), name=name_of(made)),
    )
    commit(made, {"newer": "newer\n"})
    return made


SHOWS = "cat newer; echo has=$(git rev-parse main); cat .git/objects/info/alternates 2>/dev/null || echo cloned"


def run(harness: VmHarness, server: Path, mirrors: str, instance_id: str = "i-0901") -> tuple[str, str, str]:
    """The job's output, what the VM said when its agent started, and the console, of a job that clones that server."""
    job_id, token = harness.reserve(
        Step(command=SHOWS, env={"BUILDKITE_REPO": url_of(server), "BUILDKITE_SKIP_CHECKOUT": "false"})
    )
    harness.fill(instance_id, job_id, token)
    told: list[str] = []

    def note(_instance_id: str, step: str) -> None:
        told.append(harness.mail(instance_id).get("detail", "") if "agent_exited" in step else "")

    harness.on_step = note
    vm = harness.boot(instance_id, header={"GIT_MIRRORS": mirrors, "GIT_MIRROR_SEED_BUCKET": BUCKET})
    harness.ended(vm)
    return harness.output(job_id), "".join(told), vm.console()


def test_a_checkout_begins_with_the_mirror_and_fetches_what_is_newer(harness: VmHarness, server: Path) -> None:
    output, told, console = run(harness, server, url_of(server))
    assert "newer" in output
    assert f"has={git(server, 'rev-parse', 'main')}" in output
    assert "var/lib/agent-stack/git-mirrors/" in output, console
    assert re.fullmatch(r"\(mirrors 1/1 \d+ s\) ", told), told
    effects = (harness.directory / "i-0901" / "effects.log").read_text()
    (unit,) = [line for line in effects.splitlines() if "agent-stack-seed" in line]
    for kept_from in ("User=buildkite-agent", "PrivateNetwork=yes", "ProtectSystem=strict", "NoNewPrivileges=yes"):
        assert kept_from in unit


def test_without_its_seed_a_repository_is_cloned_as_ever(harness: VmHarness, server: Path, tmp_path: Path) -> None:
    """No mirror of this one is made beside the one that is there, because that would cost a second clone."""
    other = repository(tmp_path / "other")
    commit(other, {"newer": "newer\n"})
    output, told, console = run(harness, other, f"{url_of(other)},{url_of(server)}")
    assert "cloned" in output, console
    assert "mirrors 1/2" in told
    assert f"{url_of(other)}: there is no seed" in told
    assert [path.name for path in (harness.directory / "i-0901/var/lib/agent-stack/git-mirrors").iterdir()] == [
        name_of(server)
    ]


def test_a_broken_seed_costs_no_job(harness: VmHarness, server: Path) -> None:
    key = f"git-mirror-seeds/{name_of(server)}.tar"
    harness.aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"no archive")
    output, told, console = run(harness, server, url_of(server))
    assert "cloned" in output, console
    assert "(mirrors 0/1 0 s)" in told
    assert "its seed is refused: " in told
    left = harness.directory / "i-0901/var/lib/agent-stack"
    assert not [*(left / "git-mirrors").iterdir(), *(left / "seeds").glob("seed*")], "the disk is the job's"
