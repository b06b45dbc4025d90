"""The second stage of the boot program: read by its hash, and nothing else is ever run."""

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from infra.user_data import program_sha256, second_stage
from tests.vm.harness import Aws, VmHarness, wait_for
from tests.vm.order import PROGRAM
from tests.vm.test_hostile_jobs import as_vm

pytestmark = [pytest.mark.e2e, pytest.mark.share(2)]

IT = gzip.compress(second_stage().encode())
EVIL = gzip.compress(b"echo evil\n")
LACKS = "var/cache/agent-stack/lacks"
CACHED = f"var/cache/agent-stack/{program_sha256()}.gz"


@pytest.fixture(autouse=True)
def _published_again(aws: Aws) -> Iterator[None]:
    yield
    aws.publish()


@pytest.mark.parametrize(
    ("packed", "said"),
    [(None, "is not in the table"), (EVIL, "has the hash"), (b"no archive", "cannot be unpacked")],
    ids=["missing", "another", "damaged"],
)
@pytest.mark.share(6)
def test_a_program_that_cannot_be_trusted_or_had_is_told_and_costs_no_credential(
    harness: VmHarness, packed: bytes | None, said: str
) -> None:
    harness.aws.withdraw() if packed is None else harness.aws.publish(packed)
    job_id, token = harness.reserve("true")
    harness.fill("i-0601", job_id, token)
    vm = harness.boot("i-0601", environment={"PROGRAM_SECONDS": "1"})
    harness.ended(vm)
    mail = harness.mail("i-0601")
    assert mail["stage"] == "failed"
    assert f"program#{program_sha256()} {said}" in mail["detail"]
    assert "credential" in mail
    assert "evil" not in vm.console()


def test_without_a_job_a_missing_program_is_said_on_the_console_and_the_vm_ends(harness: VmHarness) -> None:
    harness.aws.withdraw()
    vm = harness.boot("i-0602", header={"UNASSIGNED_TIMEOUT_SECONDS": "2"})
    harness.ended(vm)
    assert f"program#{program_sha256()} is not in the table" in vm.console()
    assert harness.mail("i-0602") == {}


def test_a_program_that_comes_late_is_found(harness: VmHarness) -> None:
    harness.aws.withdraw()
    job_id, token = harness.reserve("true")
    vm = harness.boot("i-0603")
    wait_for(lambda: "is not in the table" in vm.console())
    harness.fill("i-0603", job_id, token)
    harness.aws.publish()
    harness.ended(vm)
    assert harness.buildkite.job(job_id).state == "finished"


@pytest.mark.parametrize("packed", [IT, EVIL, b"cut"], ids=["it", "other", "cut"])
@pytest.mark.share(6)
def test_an_image_may_have_it_and_is_not_trusted_either(harness: VmHarness, tmp_path: Path, packed: bytes) -> None:
    cached = tmp_path / "cached"
    cached.write_bytes(packed)
    job_id, token = harness.reserve("true")
    harness.fill("i-0604", job_id, token)
    lacks = "BakeImagePackages=mkae is not in this image: \x1b[31mno such package"
    vm = harness.boot("i-0604", files={CACHED: cached, LACKS: f"{lacks}\n"})
    harness.ended(vm)
    assert "BakeImagePackages=mkae is not in this image" in vm.console(), "what its build left out"
    assert harness.buildkite.job(job_id).state == "finished"
    asked = PROGRAM in harness.steps(vm)
    assert asked == (packed != IT)


def test_a_program_is_asked_for_before_there_is_a_job(harness: VmHarness) -> None:
    """So that it costs the job no time."""
    vm = harness.boot("i-0605")
    wait_for(lambda: PROGRAM in harness.steps(vm))
    job_id, token = harness.reserve("true")
    harness.fill("i-0605", job_id, token)
    harness.ended(vm)
    assert harness.steps(vm).count(PROGRAM) == 1


def test_each_vm_runs_exactly_the_program_that_its_user_data_names(harness: VmHarness) -> None:
    """A replayed launch, an older template version and a rollback: each user data has its hash."""
    older = f"{second_stage()}: 'of an older version'\n"
    sha256 = hashlib.sha256(older.encode()).hexdigest()
    harness.aws.publish(gzip.compress(older.encode()), sha256=sha256)
    for instance_id, header, text in (
        ("i-0606", {"PROGRAM_SHA256": sha256}, older),
        ("i-0607", {}, second_stage()),
    ):
        job_id, token = harness.reserve("true")
        harness.fill(instance_id, job_id, token)
        vm = harness.boot(instance_id, header=header)
        harness.ended(vm)
        assert (vm.directory / "run/agent-stack/program.sh").read_text() == text
        assert harness.buildkite.job(job_id).state == "finished"


def test_a_job_with_the_vms_role_cannot_change_a_program(harness: VmHarness) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        as_vm(harness, "dynamodb").update_item(
            TableName=harness.aws.deployed.mailbox_table,
            Key={"instance_arn": {"S": f"program#{program_sha256()}"}},
            UpdateExpression="SET program = :program",
            ExpressionAttributeValues={":program": {"B": EVIL}},
        )
