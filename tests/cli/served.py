"""A served world for the operator's command: the stack of template.yaml in moto, a fake EC2, and a simulated Buildkite.

The command runs as a person's does, with real boto3 over HTTP; only its endpoints and keys are the world's. The
functions run when a test asks for them; what they would have left is written by their own adapters.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from agent_stack.adapters import dynamodb
from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.dynamodb import DynamoLease, DynamoLedger, Table, Transactions
from agent_stack.adapters.dynamodb.standby import DynamoStandbyVms
from agent_stack.adapters.ec2.requests import CLASS_TAG, DEPLOYMENT_TAG
from agent_stack.adapters.system import SystemClock, SystemIds
from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId, JobId, QueueKey
from agent_stack.domain.jobs import Job
from agent_stack.domain.runs import Run
from agent_stack.domain.states import CapacityType, VmState
from agent_stack.domain.vms import Assignment, Vm
from agent_stack_cli.app import app
from agent_stack_cli.policy import Kind
from tests.cli.operator_front import Backends, OperatorFront
from tests.simulator.clock import FixedDeadline
from tests.simulator.iam import Asked, Policies
from tests.simulator.telemetry import RecordedTelemetry
from tests.simulator.world import NAME, REGION, World
from tests.unit.dispatcher.parts import AtOnce

STAYS_PENDING = "m7i.4xlarge"
"""The type whose VMs do not run while a test looks."""

KEYS = {"AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}

NEEDS: Mapping[str, Kind] = {
    "pause": "operate",
    "resume": "operate",
    "drain": "operate",
    "images use": "operate",
    "images keep": "operate",
    "images unkeep": "operate",
    "classes push": "classes",
    "connect": "classes",
}
"""The policy of docs/reference/agent-stack.md that a verb needs; `read` for every other."""


def access_key(kind: Kind) -> str:
    """Of the operator who has the policy of that kind."""
    return f"OPERATOR{kind.upper()}"


def kind_for(words: Sequence[str]) -> Kind:
    """The policy that a command needs."""
    return NEEDS.get(" ".join(words[:2]), NEEDS.get(words[0], "read")) if words else "read"


def job_id(number: int) -> JobId:
    return JobId(f"01907d1e-0000-4000-8000-{number:012d}")


@dataclass
class Served:
    """The world, an operator in front of it, and what the functions wrote."""

    world: World
    lines: list[tuple[str, str]] = field(default_factory=list)
    """What the functions wrote and nobody has delivered to their log groups yet: function and line."""
    may_log: set[str] = field(default_factory=lambda: {"dispatcher", "tracker"})
    """The functions whose logs no organisation's policy forbids."""

    def __post_init__(self) -> None:
        self.clock, self.ids = SystemClock(), SystemIds()
        calls = AwsCalls(
            clock=self.clock,
            ids=self.ids,
            deadline=FixedDeadline(),
            throttles=dynamodb.THROTTLES,
            server_errors=dynamodb.SERVER_ERRORS,
        )
        self.telemetry = RecordedTelemetry()
        deployed = self.world.deployed
        table = Table(client=self.world.dynamodb, calls=calls, name=deployed.ledger_table)
        self.ledger = DynamoLedger(
            table=table,
            mailboxes=Table(client=self.world.dynamodb, calls=calls, name=deployed.mailbox_table),
            transactions=Transactions(
                client=self.world.dynamodb,
                calls=calls,
                clock=self.clock,
                ids=self.ids,
                telemetry=self.telemetry,
                workers=AtOnce(),
            ),
            history=timedelta(days=30),
            clock=self.clock,
            ids=self.ids,
            telemetry=self.telemetry,
        )
        self.standby = DynamoStandbyVms(
            table=table,
            mailboxes=self.ledger.mailboxes,
            transactions=self.ledger.transactions,
            clock=self.clock,
            ids=self.ids,
            telemetry=self.telemetry,
        )
        self.lease = DynamoLease(table=table, function="dispatcher")
        callers = {key: made(deployed) for key, made in self.world.plan.operators.items()}
        self.front = OperatorFront(
            Backends(
                aws=self.world.aws_url, functions=self.world.lambda_url, quotas=lambda: self.world.ec2.quotas.ceilings
            ),
            region=REGION,
            account_id=deployed.account_id,
            policies=lambda key: callers[key].policies if key in callers else None,
            keys={deployed.ledger_table: "pk", deployed.mailbox_table: "instance_arn"},
        )
        self.world.on_leaving(self.front.close)

    @property
    def environment(self) -> dict[str, str]:
        """What makes the command speak to this world."""
        return {
            **KEYS,
            "AWS_ACCESS_KEY_ID": access_key("operate"),
            "AWS_ENDPOINT_URL": self.front.origin,
            "AWS_ENDPOINT_URL_EC2": self.world.ec2_url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def run(self, *words: str, env: dict[str, str] | None = None) -> Result:
        """The command with these words, by an operator who has the printed policy that it needs and nothing else."""
        mine = {**self.environment, "AWS_ACCESS_KEY_ID": access_key(kind_for(words)), **(env or {})}
        return CliRunner().invoke(app, list(words), env=mine, prog_name="agent-stack")  # type: ignore[return-value]  # typer's own kind of result

    def ok(self, *words: str) -> str:
        """What a command printed that succeeded."""
        result = self.run(*words)
        assert result.exit_code == 0, result.output
        return result.stdout

    def data(self, *words: str) -> Any:  # noqa: ANN401  (JSON)
        """What a command printed with --json."""
        return json.loads(self.ok(*words, "--json"))

    def log(self, function: str, message: str, level: str = "INFO", **facts: object) -> None:
        """A line as a function logs it."""
        self.log_all(function, [{"level": level, "message": message, "service": function, **facts}])

    def log_all(self, function: str, records: Sequence[Mapping[str, object]]) -> None:
        """Lines as a function logs them, a millisecond apart, the last one now."""
        first = int(time.time() * 1000) - len(records) + 1
        events = [{"timestamp": first + number, "message": json.dumps(one)} for number, one in enumerate(records)]
        self._put(function, events)

    def deliver(self) -> None:
        """What the functions wrote so far reaches their log groups, as far as their roles allow it."""
        written, self.lines[:] = list(self.lines), []
        now = int(time.time() * 1000)
        for function in self.may_log:
            events = [
                {"timestamp": now, "message": line} for of, line in written if of == function and line.startswith("{")
            ]
            if events and self._allowed_to_log(function):
                self._put(function, events)

    def forget_logs(self, function: str) -> None:
        """Its log group is empty."""
        logs, group = self.world._client("logs"), f"/agent-stack/{NAME}/{function}"
        for stream in logs.describe_log_streams(logGroupName=group)["logStreams"]:
            logs.delete_log_stream(logGroupName=group, logStreamName=stream["logStreamName"])

    def _allowed_to_log(self, function: str) -> bool:
        """Whether the role that the template gives the function may write there: Lambda writes in its name.

        CloudFormation ends a log group's ARN with `:*`, and moto does not.
        """
        group = f"arn:aws:logs:{REGION}:{self.world.deployed.account_id}:log-group:/agent-stack/{NAME}/{function}"
        role = Policies(self.world.deployed.function_policies[function])
        return role.allow(Asked(action="logs:PutLogEvents", resource=group))

    def _put(self, function: str, events: Sequence[Mapping[str, Any]]) -> None:
        logs, group = self.world._client("logs"), f"/agent-stack/{NAME}/{function}"
        if not logs.describe_log_streams(logGroupName=group)["logStreams"]:
            logs.create_log_stream(logGroupName=group, logStreamName="one")
        logs.put_log_events(logGroupName=group, logStreamName="one", logEvents=list(events))

    # --- what the functions would have left ---

    def recorded(self, number: int, *, pipeline: str = "app", build: int = 1, queue: str = "default") -> Run:
        """A job that the dispatcher recorded a minute ago."""
        now = datetime.now(UTC)
        job = Job(
            job_id=job_id(number),
            queue_key=QueueKey(queue),
            scheduled_at=now - timedelta(seconds=60),
            pipeline_slug=pipeline,
            build_number=build,
        )
        run = Run.of(job, class_name=ClassName("default"), now=now - timedelta(seconds=58), failure_reason=None)
        (stored,) = self.ledger.record([run])
        (reserved,) = self.ledger.update(
            [stored.reserved(now=now - timedelta(seconds=57), until=now + timedelta(seconds=600))]
        )
        return reserved

    def launched(self, instance_type: str = "m7i.large") -> Vm:
        """A VM of the stack, as EC2 shows it."""
        ec2 = self.world.ec2
        answer = ec2.request(
            "CreateFleet",
            {
                "Type": "instant",
                "LaunchTemplateConfigs": [
                    {
                        "LaunchTemplateSpecification": {
                            "LaunchTemplateId": self.world.deployed.launch_template_id,
                            "Version": self.world.deployed.launch_template_version,
                        },
                        "Overrides": [
                            {
                                "InstanceType": instance_type,
                                "SubnetId": next(iter(self.world._subnets)),
                                "ImageId": "ami-0123456789abcdef0",
                            }
                        ],
                    }
                ],
                "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"},
                "TagSpecifications": [
                    {
                        "ResourceType": "instance",
                        "Tags": [
                            {"Key": DEPLOYMENT_TAG, "Value": NAME},
                            {"Key": CLASS_TAG, "Value": "default"},
                        ],
                    }
                ],
            },
            None,
        )
        instance_id = InstanceId(answer["Instances"][0]["InstanceIds"][0])
        return Vm(
            instance_id=instance_id,
            arn=InstanceArn(f"arn:aws:ec2:{REGION}:{self.world.deployed.account_id}:instance/{instance_id}"),
            state=VmState.PENDING,
            launched_at=datetime.now(UTC),
            instance_type=instance_type,
            zone=f"{REGION}a",
            capacity_type=CapacityType.ON_DEMAND,
        )

    def bound(self, run: Run, vm: Vm) -> Run:
        """That run on that VM."""
        bound = run.bound(vm, now=datetime.now(UTC))
        letter = Assignment(
            instance_arn=vm.arn,
            job_id=run.job_id,
            queue_key=run.queue_key,
            endpoint=self.world.buildkite_url,
            agent_name="agent",
            agent_tags=(),
            credential_kind="job-token",
            credential="secret",
            expires_at=datetime.now(UTC) + timedelta(hours=1),
        )
        (written,) = self.ledger.bind([(bound, letter)])
        return written

    def runs(self, instance_id: str) -> None:
        """Waits until EC2 shows that VM running."""
        retry_until = time.monotonic() + 20
        while time.monotonic() < retry_until:
            self.world.ec2.advance()
            if any(i.instance_id == instance_id and i.state == "running" for i in self.world.ec2.instances()):
                return
            time.sleep(0.05)
        raise AssertionError(f"{instance_id} does not run")

    def gone(self, instance_id: str) -> None:
        """Waits until EC2 has terminated that VM."""
        retry_until = time.monotonic() + 20
        while time.monotonic() < retry_until:
            self.world.ec2.advance()
            if all(i.state == "terminated" for i in self.world.ec2.instances() if i.instance_id == instance_id):
                return
            time.sleep(0.05)
        raise AssertionError(f"{instance_id} does not end")

    def leases_taken(self) -> int:
        """How many of the two functions have held their lease; a tracker without VMs gives it back at once."""
        return sum("fence" in item for item in self.world.ledger_items("lease"))

    def wait_for_lease(self, function: str, lasts: timedelta) -> None:
        """Wait until the function holds its lease for that long at least."""
        retry_until = time.monotonic() + 60
        while True:
            held = [item for item in self.world.ledger_items("lease") if item["sk"]["S"] == function]
            until = float(held[0].get("lease_until", {"N": "0"})["N"]) if held else 0.0
            if until > datetime.now(UTC).timestamp() + lasts.total_seconds():
                return
            assert time.monotonic() < retry_until, f"lease of the {function}: {held}"
            time.sleep(0.05)

    def tidy(self) -> None:
        """Nothing is left of what a test wrote."""
        self.front.denied.clear()
        self.front.no_echo.clear()
        self.world.ec2.faults.clear()
        client = self.world.dynamodb
        for name, keys in (
            (self.world.deployed.ledger_table, ("pk", "sk")),
            (self.world.deployed.mailbox_table, ("instance_arn",)),
        ):
            for item in client.scan(TableName=name)["Items"]:
                client.delete_item(TableName=name, Key={key: item[key] for key in keys})
        for instance in self.world.ec2.instances():
            self.world.ec2.powered_off(instance.instance_id)
        for function in ("dispatcher", "tracker"):
            self.forget_logs(function)
