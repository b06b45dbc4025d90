"""VMs that run the shipped boot program, with a mailbox, a metadata service and a Buildkite to talk to."""

import gzip
import hashlib
import os
import platform
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
from werkzeug import Request, Response

from infra.user_data import program_sha256, second_stage
from tests.simulator.aws import AwsServer
from tests.simulator.buildkite import AGENT_TOKEN, Buildkite, BuildkiteServer, Step
from tests.simulator.buildkite.oidc import ISSUER
from tests.simulator.deployment import deploy
from tests.simulator.iam import Asked
from tests.simulator.iam.sts import FakeSts
from tests.simulator.iam.web_identity import Provider
from tests.simulator.loopback import LoopbackServer
from tests.simulator.vm.agent_log import command_output
from tests.simulator.vm.imds import FakeImds
from tests.simulator.vm.machines import LocalMachines
from tests.simulator.vm.process import AGENT_STUB, LocalVm
from tests.simulator.vm.role import VmFront
from tests.vm.order import assert_in_order

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REGION, ACCOUNT = "eu-central-1", "123456789012"
TOKEN_PARAMETER = "/buildkite/agent-token"
BUCKET = "preparation"
AGENT = Path(os.environ.get("BUILDKITE_AGENT_BINARY") or AGENT_STUB)
NOWHERE = "http://127.0.0.1:9"
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


PARAMETERS = {
    "GitSshKeyParameter": "/private/{queue}/ssh-key",
    "GitCredentialsParameter": "/private/git-credentials",
    "GitMirrors": "https://git.example/acme/app.git",
    "GitMirrorSeedBucket": "seeds",
    "JobEnvironmentParameter": "/private/environment",
    "SigningKeyParameter": "/private/signing-key",
    "VerificationKeyParameter": "/private/verification-key",
    "EcrLogin": "account",
    "ArtifactBucket": "artifacts",
    "JobMetadata": "allowed",
    "AgentCredential": "agent-token",
    "VmLogs": "cloudwatch",
    "BootstrapUrl": f"s3://{BUCKET}/bootstrap{{class}}",
    "HooksUrl": f"s3://{BUCKET}/hooks.tar.gz",
}
"""Everything is deployed, so that the role may do it; a test turns on what it is about."""

UNPINNED = "4.0.3-test"
"""A version of the agent whose digest no stack knows."""

QUIET = {
    "AGENT_VERSION": UNPINNED,
    "AGENT_DOWNLOAD_URL": NOWHERE,
    "BOOTSTRAP_URL": "",
    "HOOKS_URL": "",
    "GIT_SSH_KEY_PARAMETER": "",
    "GIT_KNOWN_HOSTS": "",
    "GIT_CREDENTIALS_PARAMETER": "",
    "GIT_MIRRORS": "",
    "JOB_ENVIRONMENT_PARAMETER": "",
    "SIGNING_KEY_PARAMETER": "",
    "VERIFICATION_KEY_PARAMETER": "",
    "ECR_LOGIN": "none",
    "ECR_ACCOUNTS": "",
    "DOCKER_LOGINS_PARAMETER": "",
    "DOCKER_MIRRORS": "",
    "ARTIFACT_BUCKET": "",
    "LOG_GROUP": "",
    "JOB_METADATA": "blocked",
    "JOB_AWS": "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """An instance, as far as a local VM needs to know it."""

    instance_id: str
    user_data: bytes = field(repr=False)
    instance_type: str = "m7i.large"
    zone: str = "eu-central-1a"
    metadata_tags: Mapping[str, str] | None = None


class Aws(AwsServer):
    """With template.yaml deployed; the VMs reach it through what their role allows."""

    def __init__(self) -> None:
        super().__init__()
        self.dynamodb: DynamoDBClient = self.client("dynamodb")
        self.client("ssm").put_parameter(Name=TOKEN_PARAMETER, Value=AGENT_TOKEN, Type="SecureString")
        self.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        network = self.client("ec2")
        subnets = [subnet["SubnetId"] for subnet in network.describe_subnets()["Subnets"]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of moto, about what it does not play
            self.deployed = deploy(
                endpoint=self.url,
                region=REGION,
                name="stack",
                parameters={
                    **PARAMETERS,
                    "AgentTokenParameter": TOKEN_PARAMETER,
                    "StackKey": "stack",
                    "VpcId": network.describe_vpcs()["Vpcs"][0]["VpcId"],
                    "Subnets": ",".join(subnets),
                },
            )
        self.publish()
        self._parameters = self._named_parameters()
        self._log_groups = {made["logGroupName"] for made in self.client("logs").describe_log_groups()["logGroups"]}
        self.sts = FakeSts(account_id=self.deployed.account_id)
        self.front = VmFront(
            backend=self.url,
            region=REGION,
            account_id=self.deployed.account_id,
            policies=self.deployed.vm_policies,
            sts=self.sts,
        )

    def close(self) -> None:
        """See `AwsServer`."""
        self.front.close()
        super().close()

    def is_deployed(self) -> bool:
        """Whether the account is as this made it, and not another one that was made since."""
        return self.deployed.mailbox_table in self.dynamodb.list_tables()["TableNames"]

    def forget(self) -> None:
        """Take out what tests put in since it was deployed."""
        self.front.refusals.clear()
        table = self.deployed.mailbox_table
        for item in self.dynamodb.scan(TableName=table)["Items"]:
            self.dynamodb.delete_item(TableName=table, Key={"instance_arn": item["instance_arn"]})
        self.publish()
        s3, logs = self.client("s3"), self.client("logs")
        for bucket in s3.list_buckets()["Buckets"]:
            for kept in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
                s3.delete_object(Bucket=bucket["Name"], Key=kept["Key"])
            if bucket["Name"] != BUCKET:
                s3.delete_bucket(Bucket=bucket["Name"])
        for group in logs.describe_log_groups()["logGroups"]:
            if group["logGroupName"] not in self._log_groups:
                logs.delete_log_group(logGroupName=group["logGroupName"])
        for name in self._named_parameters() - self._parameters:
            self.client("ssm").delete_parameter(Name=name)

    def _named_parameters(self) -> set[str]:
        pages = self.client("ssm").get_paginator("describe_parameters").paginate()
        return {parameter["Name"] for page in pages for parameter in page["Parameters"]}

    def publish(self, packed: bytes | None = None, *, sha256: str | None = None) -> None:
        """Put the boot program's second stage into the mailbox table, as the dispatcher does; or else these bytes."""
        self.dynamodb.put_item(
            TableName=self.deployed.mailbox_table,
            Item={
                "instance_arn": {"S": f"program#{sha256 or program_sha256()}"},
                "program": {"B": packed or gzip.compress(second_stage().encode())},
            },
        )

    def withdraw(self) -> None:
        """Take it out again."""
        self.dynamodb.delete_item(
            TableName=self.deployed.mailbox_table, Key={"instance_arn": {"S": f"program#{program_sha256()}"}}
        )

    def client(self, service: str) -> Any:  # noqa: ANN401  (a client of any service)
        """A client of the operator's, whom nothing is forbidden."""
        return boto3.client(
            service,  # type: ignore[call-overload]  # any service's name
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )


class VmHarness:
    """One test's VMs."""

    def __init__(
        self, *, aws: Aws, directory: Path, imds: FakeImds, server: BuildkiteServer, buildkite: Buildkite
    ) -> None:
        self.buildkite = buildkite
        self.aws = aws
        self.imds = imds
        self.off: list[str] = []
        self.on_step: Callable[[str, str], None] = lambda _instance_id, _step: None
        """Called with the instance id and what it asks of AWS, before it is answered."""
        aws.front.skew, aws.front.down, aws.front.on_asked = timedelta(), False, self._note
        aws.front.lose_answer = lambda _: False
        aws.front.speaks.set()
        aws.sts.reset([Provider(url=ISSUER, keys=buildkite.jwks)])
        self.directory = directory
        self._url = server.url
        self._machines: list[LocalMachines] = []

    def close(self) -> None:
        for machines in self._machines:
            machines.close()

    def boot(
        self,
        instance_id: str,
        *,
        agent: Path | None = AGENT,
        environment: Mapping[str, str] | None = None,
        header: Mapping[str, str | None] | None = None,
        files: Mapping[str, str | Path] | None = None,
        hold: int | str | None = None,
        vm_class: str = "default",
    ) -> LocalVm:
        """Boot the shipped program.

        Args:
            agent: the image's; None for an image without one.
            header: settings of the user data; None leaves one out.
            files: what the image holds besides, by path in the VM's directory: a text, or what a link leads to.
            hold: how many seconds it may stand by, by its tag; None for a VM that is launched for a job.
            vm_class: what its tag says; empty for a VM that may not see its tags.
        """
        for name, content in (files or {}).items():
            path = self.directory / instance_id / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                path.symlink_to(content)
            else:
                path.write_text(content)
                path.chmod(0o755)
        changes: dict[str, str | None] = {"UNASSIGNED_TIMEOUT_SECONDS": "30", "MAX_LIFETIME_SECONDS": "300", **QUIET}
        changes |= header or {}
        machines = LocalMachines(
            directory=self.directory,
            imds=self.imds,
            environment={
                **self.aws.front.environment,
                "SPOT_POLL_SECONDS": "1",
                **(environment or {}),
            },
            region=REGION,
            account_id=self.aws.deployed.account_id,
            agent_binary=agent,
            on_poweroff=self.off.append,
        )
        self._machines.append(machines)
        enabled = self.aws.deployed.launch_template["MetadataOptions"].get("InstanceMetadataTags") == "enabled"
        tags = {
            "Name": instance_id,
            "agent-stack:class": vm_class,
            **({} if hold is None else {"agent-stack:hold": str(hold)}),
        }
        return machines.boot(
            Launched(
                instance_id=instance_id,
                user_data=changed(self.aws.deployed.user_data, changes),
                metadata_tags=tags if enabled and vm_class else None,
            )
        )

    def reserve(self, command: str | Step, *, seconds: int = 600) -> tuple[str, str]:
        """A reserved job and its acquisition token."""
        step = Step(command=command) if isinstance(command, str) else command
        with httpx.Client(base_url=self._url, headers={"Authorization": f"Token {AGENT_TOKEN}"}) as api:
            stack = {"key": "stack", "type": "custom", "queue_key": "default", "metadata": {}}
            api.post("/stacks/register", json=stack).raise_for_status()
            (job_id,) = self.buildkite.create_build(steps=[step]).job_ids
            body = {"job_uuids": [job_id], "reservation_expiry_seconds": seconds}
            api.put("/stacks/stack/scheduled-jobs/batch-reserve", json=body).raise_for_status()
            issued = api.post("/stacks/stack/job-acquisition-tokens", json={"job_uuids": [job_id]}).json()
        return job_id, str(issued["job_acquisition_tokens"][0]["job_acquisition_token"])

    def close_mailbox(self, instance_id: str) -> None:
        """Close a VM's mailbox, as orphan cleanup does: its item has nothing but this."""
        item = {"instance_arn": {"S": arn(instance_id)}, "closed": {"N": "1"}, "write_id": {"S": "a"}}
        self.aws.dynamodb.put_item(TableName=self.aws.deployed.mailbox_table, Item=item)

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
        self.aws.dynamodb.put_item(
            TableName=self.aws.deployed.mailbox_table, Item={name: {"S": value} for name, value in values.items()}
        )

    def give(self, instance_id: str, credential: str) -> None:
        """Put another credential into a VM's mailbox, as the tracker does."""
        self.aws.dynamodb.update_item(
            TableName=self.aws.deployed.mailbox_table,
            Key={"instance_arn": {"S": arn(instance_id)}},
            UpdateExpression="SET credential = :credential",
            ExpressionAttributeValues={":credential": {"S": credential}},
        )

    def mail(self, instance_id: str) -> dict[str, str]:
        """What a VM's mailbox holds now; empty when there is none."""
        found = self.aws.dynamodb.get_item(
            TableName=self.aws.deployed.mailbox_table, Key={"instance_arn": {"S": arn(instance_id)}}
        )
        return {name: str(next(iter(value.values()))) for name, value in found.get("Item", {}).items()}

    def output(self, job_id: str) -> str:
        """What a job's command wrote, whichever agent ran it."""
        return command_output(self.buildkite.job(job_id).log)

    def steps(self, vm: LocalVm) -> list[str]:
        """What the VM did that others can see, in order: units, power-off, and requests to AWS."""
        return [step for line in vm.effects() if (step := _step(line))]

    def _note(self, asked: Asked, allowed: bool, body: Mapping[str, Any]) -> None:  # noqa: FBT001  (a verdict)
        if "ec2:SourceInstanceARN" not in asked.context:
            return  # a job's own session, which is nobody's VM
        instance_id = asked.context["ec2:SourceInstanceARN"][0].rpartition("/")[2]
        values = body.get("ExpressionAttributeValues", {})
        stage = values.get(":stage", {}).get("S", "")
        read = set(asked.context.get("dynamodb:Attributes", ())) if asked.action == "dynamodb:GetItem" else set()
        program = "program" if "program" in read else "hold" if "hold_seconds" in read else ""
        step = " ".join(
            filter(None, [asked.action, program, stage, *body.get("Names", ()), "" if allowed else "denied"])
        )
        if (self.directory / instance_id).exists():  # not for keys that a test uses without a VM
            with (self.directory / instance_id / "effects.log").open("a") as effects:
                effects.write(f"{step}\n")
        self.on_step(instance_id, step)

    def ended(self, vm: LocalVm, *, seconds: float = 30) -> None:
        """Wait for a VM's end: it powers itself off, once, nothing of it is left, and its steps were in order.

        Raises:
            AssertionError: with what it said or did.
        """
        assert vm.join(seconds), vm.console()
        assert self.off.count(vm.directory.name) == 1
        assert vm.processes() == []
        assert_in_order(self.steps(vm))

    def interrupt(self, instance_id: str) -> None:
        """EC2 announces that it takes the VM back."""
        self.imds.announce_spot_interruption(instance_id, at=datetime.now(UTC) + timedelta(minutes=2))


def _step(line: str) -> str:
    """`systemd-run -q -u agent-stack-boot -p …` is the start of agent-stack-boot."""
    words = line.split()
    match words:
        case ["systemd-run", "-q", "-u", unit, *_, "denied"]:
            return f"{unit} denied"
        case ["systemd-run", "-q", "-u", unit, *_]:
            return unit
        case ["systemctl", "is-active", *_]:
            return ""
        case _:
            return line


def changed(user_data: bytes, changes: Mapping[str, str | None]) -> bytes:
    """User data with other settings; None leaves one out."""
    lines: list[str] = []
    for line in user_data.decode().splitlines():
        name = line.partition("=")[0]
        if name not in changes:
            lines.append(line)
        elif changes[name] is not None:
            lines.append(f"{name}={changes[name]}")
    return "\n".join(lines).encode()


def arn(instance_id: str) -> str:
    """The key of a VM's mailbox."""
    return f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{instance_id}"


def wait_for(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    """Wait until it holds.

    Raises:
        AssertionError: it never did.
    """
    retry_until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < retry_until, "it did not come to that in time"
        time.sleep(0.05)


def download_server(
    agent: bytes, *, checksum: str | None = None, machines: Sequence[str] = (MACHINE,)
) -> LoopbackServer:
    """Where agents are published, with their checksums."""
    published = checksum or hashlib.sha256(agent).hexdigest()
    names = [f"/{UNPINNED}/buildkite-agent-linux-{machine}" for machine in machines]

    def serve(request: Request) -> Response:
        answers = dict.fromkeys(names, agent)
        answers |= {f"{name}.sha256": f"{published}  buildkite-agent".encode() for name in names}
        body = answers.get(request.path)
        return Response(status=404) if body is None else Response(body)

    return LoopbackServer(serve, advance=lambda: None)
