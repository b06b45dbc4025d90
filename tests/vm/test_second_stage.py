"""The second stage of the boot program: read by its hash, and nothing else is ever run."""

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from infra.user_data import program_sha256, second_stage
from tests.vm.order import PROGRAM
from tests.vm.test_hostile_jobs import as_vm
from tests.vm.yard import Aws, Yard, wait_for

pytestmark = pytest.mark.e2e

IT = gzip.compress(second_stage().encode())
EVIL = gzip.compress(b"echo evil\n")
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
def test_a_program_that_cannot_be_trusted_or_had_is_told_and_costs_no_credential(
    yard: Yard, packed: bytes | None, said: str
) -> None:
    yard.aws.withdraw() if packed is None else yard.aws.publish(packed)
    job_id, token = yard.reserve("true")
    yard.fill("i-0601", job_id, token)
    vm = yard.boot("i-0601", environment={"PROGRAM_SECONDS": "1"})
    yard.ended(vm)
    mail = yard.mail("i-0601")
    assert mail["stage"] == "failed"
    assert f"program#{program_sha256()} {said}" in mail["detail"]
    assert "credential" in mail
    assert "evil" not in vm.console()


def test_without_a_job_a_missing_program_is_said_on_the_console_and_the_vm_ends(yard: Yard) -> None:
    yard.aws.withdraw()
    vm = yard.boot("i-0602", header={"UNASSIGNED_TIMEOUT_SECONDS": "2"})
    yard.ended(vm)
    assert f"program#{program_sha256()} is not in the table" in vm.console()
    assert yard.mail("i-0602") == {}


def test_a_program_that_comes_late_is_found(yard: Yard) -> None:
    yard.aws.withdraw()
    job_id, token = yard.reserve("true")
    vm = yard.boot("i-0603")
    wait_for(lambda: "is not in the table" in vm.console())
    yard.fill("i-0603", job_id, token)
    yard.aws.publish()
    yard.ended(vm)
    assert yard.buildkite.job(job_id).state == "finished"


@pytest.mark.parametrize("packed", [IT, EVIL, b"cut"], ids=["it", "other", "cut"])
def test_an_image_may_have_it_and_is_not_trusted_either(yard: Yard, tmp_path: Path, packed: bytes) -> None:
    cached = tmp_path / "cached"
    cached.write_bytes(packed)
    job_id, token = yard.reserve("true")
    yard.fill("i-0604", job_id, token)
    vm = yard.boot("i-0604", files={CACHED: cached})
    yard.ended(vm)
    assert yard.buildkite.job(job_id).state == "finished"
    asked = PROGRAM in yard.steps(vm)
    assert asked == (packed != IT)


def test_a_program_is_asked_for_before_there_is_a_job(yard: Yard) -> None:
    """So that it costs the job no time."""
    vm = yard.boot("i-0605")
    wait_for(lambda: PROGRAM in yard.steps(vm))
    job_id, token = yard.reserve("true")
    yard.fill("i-0605", job_id, token)
    yard.ended(vm)
    assert yard.steps(vm).count(PROGRAM) == 1


def test_each_vm_runs_exactly_the_program_that_its_user_data_names(yard: Yard) -> None:
    """A replayed launch, an older template version and a rollback: each user data has its hash."""
    older = f"{second_stage()}: 'of an older version'\n"
    sha256 = hashlib.sha256(older.encode()).hexdigest()
    yard.aws.publish(gzip.compress(older.encode()), sha256=sha256)
    for instance_id, header, text in (
        ("i-0606", {"PROGRAM_SHA256": sha256}, older),
        ("i-0607", {}, second_stage()),
    ):
        job_id, token = yard.reserve("true")
        yard.fill(instance_id, job_id, token)
        vm = yard.boot(instance_id, header=header)
        yard.ended(vm)
        assert (vm.directory / "run/agent-stack/program.sh").read_text() == text
        assert yard.buildkite.job(job_id).state == "finished"


def test_a_job_with_the_vms_role_cannot_change_a_program(yard: Yard) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        as_vm(yard, "dynamodb").update_item(
            TableName=yard.aws.deployed.mailbox_table,
            Key={"instance_arn": {"S": f"program#{program_sha256()}"}},
            UpdateExpression="SET program = :program",
            ExpressionAttributeValues={":program": {"B": EVIL}},
        )
