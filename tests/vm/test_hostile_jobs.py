"""What a job can do with what is on its VM, and what comes of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from agent_stack.adapters.dynamodb import DynamoMailbox, Table
from agent_stack.domain.identifiers import InstanceArn
from agent_stack.domain.states import CredentialHolder
from tests.contract.tables import dynamo_calls
from tests.simulator.clock import VirtualClock
from tests.simulator.vm.imds import MachineIdentity
from tests.vm.harness import REGION, VmHarness, arn, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.share(2)]

OWN, OTHER = "i-0301", "i-0302"


def as_vm(harness: VmHarness, service: str) -> Any:  # noqa: ANN401  (a client of any service)
    """A client with the keys that a job reads where the metadata service is open to it."""
    keys = MachineIdentity(
        instance_id=OWN, region=REGION, account_id=harness.aws.deployed.account_id, zone="", instance_type=""
    )
    return boto3.client(
        service,  # type: ignore[call-overload]  # any service's name
        region_name=REGION,
        endpoint_url=harness.aws.front.origin,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.session_token,
        config=Config(retries={"total_max_attempts": 1}),
    )


def key(instance_id: str) -> dict[str, Any]:
    return {"instance_arn": {"S": arn(instance_id)}}


def write(client: Any, table: str, instance_id: str, expression: str, **more: Any) -> None:  # noqa: ANN401  (boto3's)
    client.update_item(TableName=table, Key=key(instance_id), UpdateExpression=expression, **more)


DENIED: dict[str, Callable[[Any, str], object]] = {
    "read its own credential": lambda c, t: c.get_item(
        TableName=t, Key=key(OWN), ProjectionExpression="job_id, credential"
    ),
    "read another's assignment": lambda c, t: c.get_item(TableName=t, Key=key(OTHER), ProjectionExpression="job_id"),
    "take another's credential": lambda c, t: write(
        c, t, OTHER, "REMOVE credential", ConditionExpression="attribute_exists(credential)", ReturnValues="UPDATED_OLD"
    ),
    "write another's stage": lambda c, t: write(
        c, t, OTHER, "SET stage = :s", ExpressionAttributeValues={":s": {"S": "failed"}}
    ),
    "see the whole item after a write": lambda c, t: write(
        c, t, OWN, "SET stage = :s", ExpressionAttributeValues={":s": {"S": "x"}}, ReturnValues="ALL_NEW"
    ),
    "give itself another job": lambda c, t: write(
        c, t, OWN, "SET job_id = :j", ExpressionAttributeValues={":j": {"S": "another"}}
    ),
    "hide behind a name": lambda c, t: write(
        c,
        t,
        OWN,
        "SET #n = :j",
        ExpressionAttributeNames={"#n": "endpoint"},
        ExpressionAttributeValues={":j": {"S": "http://evil"}},
    ),
    "make an item": lambda c, t: c.put_item(TableName=t, Item=key(OWN)),
    "delete its item": lambda c, t: c.delete_item(TableName=t, Key=key(OWN)),
    "read all items": lambda c, t: c.scan(TableName=t),
    "ask for many at once": lambda c, t: c.batch_get_item(RequestItems={t: {"Keys": [key(OTHER)]}}),
}


@pytest.mark.parametrize("what", DENIED)
@pytest.mark.share(6)
def test_with_the_vms_role_a_job_cannot(harness: VmHarness, what: str) -> None:
    for instance_id in (OWN, OTHER):
        job_id, token = harness.reserve("true")
        harness.fill(instance_id, job_id, token)
    with pytest.raises(ClientError) as raised:
        DENIED[what](as_vm(harness, "dynamodb"), harness.aws.deployed.mailbox_table)
    assert raised.value.response["Error"]["Code"] == "AccessDeniedException"
    assert harness.mail(OTHER)["credential"].startswith("bkjat_")


def test_another_parameter_is_not_for_the_role(harness: VmHarness) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        as_vm(harness, "ssm").get_parameter(Name="/somebody/elses")


def test_a_lie_of_four_hundred_kilobytes_has_no_consequence(harness: VmHarness) -> None:
    """A job may write into its VM's own mailbox; what it writes there is cropped, and decides nothing."""
    job_id, token = harness.reserve("true")
    harness.fill(OWN, job_id, token)
    client, table = as_vm(harness, "dynamodb"), harness.aws.deployed.mailbox_table
    write(client, table, OWN, "REMOVE credential", ReturnValues="UPDATED_OLD")
    lie = {":s": {"S": "failed"}, ":d": {"S": "x" * 390_000}}
    write(client, table, OWN, "SET stage = :s, detail = :d", ExpressionAttributeValues=lie)
    clock = VirtualClock()
    mailbox = DynamoMailbox(
        table=Table(client=harness.aws.dynamodb, calls=dynamo_calls(clock), name=table), clock=clock
    )
    mail = mailbox.read([InstanceArn(arn(OWN))])[InstanceArn(arn(OWN))]
    assert mail.credential_holder is CredentialHolder.VM
    assert len(mail.detail) <= 300
    with pytest.raises(ClientError):
        write(client, table, OWN, "SET detail = :d", ExpressionAttributeValues={":d": {"S": "x" * 410_000}})


READ_METADATA = (
    "curl -s -m 3 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "
    "$AWS_EC2_METADATA_SERVICE_ENDPOINT/latest/api/token | grep -q metadata-token && echo reached || echo refused"
)


@pytest.mark.parametrize(("setting", "said"), [("blocked", "refused\n"), ("allowed", "reached\n")])
def test_metadata_is_for_jobs_only_where_the_operator_says_so(harness: VmHarness, setting: str, said: str) -> None:
    job_id, token = harness.reserve(READ_METADATA)
    harness.fill("i-0303", job_id, token)
    vm = harness.boot("i-0303", header={"JOB_METADATA": setting})
    harness.ended(vm)
    assert harness.output(job_id) == said


def test_the_credential_is_in_no_file_while_the_job_runs(harness: VmHarness) -> None:
    job_id, token = harness.reserve("echo begun; sleep 3")
    harness.fill("i-0304", job_id, token)
    vm = harness.boot("i-0304")
    wait_for(lambda: harness.output(job_id) == "begun\n")
    left = "".join(path.read_text(errors="replace") for path in vm.directory.rglob("*") if path.is_file())
    assert token not in left
    assert "credential" not in harness.mail("i-0304")
    harness.ended(vm)


def test_what_root_writes_before_the_agent_is_for_root(harness: VmHarness, tmp_path: Path) -> None:
    """Its own files; those of the job's user are in that user's directory. At the moment the credential is taken."""
    modes: dict[str, int] = {}
    root = tmp_path / "i-0306"

    def look(_: str, step: str) -> None:
        if step.endswith("credential_taken"):
            own = [path for path in [*root.glob("run/agent-stack/*"), *root.glob("tmp/*/*")] if path.is_file()]
            modes.update({path.name: path.stat().st_mode & 0o777 for path in own})

    harness.on_step = look
    job_id, token = harness.reserve("true")
    harness.fill("i-0306", job_id, token)
    harness.ended(harness.boot("i-0306"))
    assert {"agent.env", "settings", "boot.sh", "program.sh"} <= set(modes)
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}


def test_a_name_in_the_jobs_own_directory_leads_root_nowhere_else(harness: VmHarness, tmp_path: Path) -> None:
    """The job's user owns the private directory: a name in it may become a link to any directory."""
    target = tmp_path / "roots-own"
    target.mkdir()
    command = (
        f'for name in spot-notice token environment; do ln -sfn {target} "$AGENT_STACK_PRIVATE/$name"; done; '
        "echo linked; trap 'exit 7' TERM; while :; do sleep 0.1; done"
    )
    job_id, token = harness.reserve(command)
    harness.fill("i-0305", job_id, token)
    vm = harness.boot("i-0305")
    wait_for(lambda: harness.output(job_id) == "linked\n")
    harness.interrupt("i-0305")
    harness.ended(vm)
    assert list(target.iterdir()) == []
    assert "EC2 takes this VM back (spot interruption)" in harness.buildkite.job(job_id).log
