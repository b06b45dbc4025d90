"""VMs that run the shipped boot program, with a mailbox, a metadata service and a Buildkite to talk to."""

import hashlib
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
from werkzeug import Request, Response

from infra.user_data import BOOT_PROGRAM
from tests.simulator.aws import AwsServer
from tests.simulator.buildkite import AGENT_TOKEN, Buildkite, BuildkiteServer, Step
from tests.simulator.loopback import LoopbackServer
from tests.simulator.vm import AGENT_STUB, FakeImds, LocalMachines, LocalVm

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REGION, ACCOUNT, TABLE = "eu-central-1", "123456789012", "mailboxes"
TOKEN_PARAMETER = "/buildkite/agent-token"
NOWHERE = "http://127.0.0.1:9"
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """An instance, as far as a local VM needs to know it."""

    instance_id: str
    user_data: bytes = field(repr=False)
    instance_type: str = "m7i.large"
    zone: str = "eu-central-1a"


class Aws(AwsServer):
    """With the mailbox table and the token parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.dynamodb: DynamoDBClient = self._client("dynamodb")
        self.dynamodb.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "instance_arn", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "instance_arn", "KeyType": "HASH"}],
        )
        self._client("ssm").put_parameter(Name=TOKEN_PARAMETER, Value=AGENT_TOKEN, Type="SecureString")

    def _client(self, service: str) -> Any:  # noqa: ANN401  (a client of any service)
        return boto3.client(
            service,  # type: ignore[call-overload]  # any service's name
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )


class Yard:
    """One test's VMs."""

    def __init__(
        self, *, aws: Aws, directory: Path, imds: FakeImds, server: BuildkiteServer, buildkite: Buildkite
    ) -> None:
        self.buildkite = buildkite
        self.off: list[str] = []
        self._aws = aws
        self._directory = directory
        self._imds = imds
        self._url = server.url
        self._machines: list[LocalMachines] = []

    def close(self) -> None:
        for machines in self._machines:
            machines.close()

    def boot(
        self,
        instance_id: str,
        *,
        agent: Path | None = AGENT_STUB,
        environment: Mapping[str, str] | None = None,
        header: Mapping[str, str | None] | None = None,
    ) -> LocalVm:
        """Boot the shipped program with that header; None leaves a variable out."""
        values: dict[str, str | None] = {
            "MAILBOX_TABLE": TABLE,
            "DEPLOYMENT_REGION": REGION,
            "UNASSIGNED_TIMEOUT_SECONDS": "30",
            "MAX_LIFETIME_SECONDS": "300",
            "AGENT_VERSION": "4.0.3",
            "AGENT_DOWNLOAD_URL": NOWHERE,
            "AGENT_TOKEN_PARAMETER": TOKEN_PARAMETER,
            **(header or {}),
        }
        shebang, _, program = BOOT_PROGRAM.read_text().partition("\n")
        lines = [shebang, *(f"{name}={value}" for name, value in values.items() if value is not None), program]
        machines = LocalMachines(
            directory=self._directory,
            imds=self._imds,
            environment={
                "AWS_ENDPOINT_URL_DYNAMODB": self._aws.url,
                "AWS_ENDPOINT_URL_SSM": self._aws.url,
                "SPOT_POLL_SECONDS": "1",
                **(environment or {}),
            },
            region=REGION,
            account_id=ACCOUNT,
            agent_binary=agent,
            on_poweroff=self.off.append,
        )
        self._machines.append(machines)
        return machines.boot(Launched(instance_id=instance_id, user_data="\n".join(lines).encode()))

    def reserve(self, command: str, *, seconds: int = 600) -> tuple[str, str]:
        """A reserved job and its acquisition token."""
        with httpx.Client(base_url=self._url, headers={"Authorization": f"Token {AGENT_TOKEN}"}) as api:
            stack = {"key": "stack", "type": "custom", "queue_key": "default", "metadata": {}}
            api.post("/stacks/register", json=stack).raise_for_status()
            (job_id,) = self.buildkite.create_build(steps=[Step(command=command)]).job_ids
            body = {"job_uuids": [job_id], "reservation_expiry_seconds": seconds}
            api.put("/stacks/stack/scheduled-jobs/batch-reserve", json=body).raise_for_status()
            issued = api.post("/stacks/stack/job-acquisition-tokens", json={"job_uuids": [job_id]}).json()
        return job_id, str(issued["job_acquisition_tokens"][0]["job_acquisition_token"])

    def fill(self, instance_id: str, job_id: str, credential: str | None, /, **changes: str) -> None:
        """Fill a VM's mailbox, as binding does; without a credential it is one that somebody emptied before."""
        values = {
            "instance_arn": arn(instance_id),
            "job_id": job_id,
            "queue_key": "default",
            "endpoint": self._url,
            "agent_name": f"stack-{instance_id}",
            "agent_tags": "class=default",
            "credential_kind": "job-token",
            **({} if credential is None else {"credential": credential}),
            **changes,
        }
        self._aws.dynamodb.put_item(TableName=TABLE, Item={name: {"S": value} for name, value in values.items()})

    def mail(self, instance_id: str) -> dict[str, str]:
        """What a VM's mailbox holds now; empty when there is none."""
        found = self._aws.dynamodb.get_item(TableName=TABLE, Key={"instance_arn": {"S": arn(instance_id)}})
        return {name: str(next(iter(value.values()))) for name, value in found.get("Item", {}).items()}

    def interrupt(self, instance_id: str) -> None:
        """EC2 announces that it takes the VM back."""
        self._imds.announce_spot_interruption(instance_id, at=datetime.now(UTC) + timedelta(minutes=2))


def arn(instance_id: str) -> str:
    """The key of a VM's mailbox."""
    return f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{instance_id}"


def wait_for(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    """Wait until it holds.

    Raises:
        AssertionError: it never did.
    """
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come to that in time"
        time.sleep(0.05)


def download_server(agent: bytes, *, checksum: str | None = None) -> LoopbackServer:
    """Where agents are published, with their checksums."""
    published = checksum or hashlib.sha256(agent).hexdigest()
    name = f"/4.0.3/buildkite-agent-linux-{MACHINE}"

    def serve(request: Request) -> Response:
        answers = {name: agent, f"{name}.sha256": f"{published}  buildkite-agent".encode()}
        body = answers.get(request.path)
        return Response(status=404) if body is None else Response(body)

    return LoopbackServer(serve, advance=lambda: None)
