"""The whole stack on one machine: what template.yaml deploys, between a simulated Buildkite and a fake EC2.

Real are: the two functions in the vendor's runtime client, botocore and httpx on real HTTP, the boot program and what
it starts. Simulated are: Buildkite, EC2's own behaviour, DynamoDB and SSM (moto), and the machines (local processes).
"""

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import boto3

from tests.simulator.aws import AwsServer
from tests.simulator.buildkite import AGENT_TOKEN, Buildkite, BuildkiteServer
from tests.simulator.buildkite import Settings as BuildkiteSettings
from tests.simulator.buildkite.operations import BASE_PATH
from tests.simulator.cloud import Caller, Ec2, Ec2Server, Instance, LaunchTemplateData, Subnet
from tests.simulator.cloud import Settings as Ec2Settings
from tests.simulator.deployment import TEMPLATE, Deployed, deploy, store_objects
from tests.simulator.iam import Policies
from tests.simulator.lambda_host import Completed, LambdaHost, Schedule, Wakes
from tests.simulator.lambda_host.front import lambda_api, wakes_api
from tests.simulator.vm.imds import FakeImds
from tests.simulator.vm.machines import LocalMachines
from tests.simulator.vm.process import AGENT_STUB, MARKER_VARIABLE, leftover_processes
from tests.simulator.vm.role import VmFront

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
REGION = "eu-central-1"
TOKEN_PARAMETER = "/buildkite/agent-token"
NAME = "demo"

QUICK = {
    "IdlePollSeconds": "0.5",
    "FinishGraceSeconds": "3",
    "CancelGraceSeconds": "10",
    "SweepGraceSeconds": "30",
    "UnassignedTimeoutSeconds": "30",
    "ReservationSeconds": "60",
    "LaunchDeadlineSeconds": "20",
    "LogLevel": "INFO",
}
"""The template's parameters for a world in which a boot takes seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What kind of world it is to be.

    Attributes:
        parameters: of the template, over `QUICK`.
        token: what the token parameter holds; None leaves it out.
        classes: the class document put into SSM; None leaves it to the template's default.
        objects: what lies in S3 before the deployment, by URL.
        endpoint: where the functions and agents look for Buildkite; None for where it is.
        schedule_seconds: how often each function is invoked; a minute on AWS.
        schedule_seed: of the moments within each of these periods.
        functions: the directory of the functions' code.
        template: what is deployed; its nested templates lie in `infra` beside it.
        runtime: that of the runtime client, where `functions` holds all the rest; see `ExecutionEnvironment`.
        between: given a service (`buildkite`, `aws`, `ec2`, `vm`) and its origin, what functions and VMs ask instead.
    """

    parameters: Mapping[str, str] = field(default_factory=dict)
    token: str | None = AGENT_TOKEN
    classes: str | None = None
    objects: Mapping[str, bytes] = field(default_factory=dict)
    endpoint: str | None = None
    schedule_seconds: float = 5.0
    schedule_seed: int = 0
    pending: tuple[timedelta, timedelta] = (timedelta(seconds=3), timedelta(seconds=4))
    pending_of: Mapping[str, timedelta] = field(default_factory=dict)
    shutting_down: timedelta = timedelta(seconds=1)
    buildkite: BuildkiteSettings = field(default_factory=BuildkiteSettings)
    functions: Path = FUNCTIONS
    template: Path = TEMPLATE
    runtime: Path | None = None
    between: Callable[[str, str], str] = lambda _service, origin: origin
    operators: Mapping[str, Callable[[Deployed], Caller]] = field(default_factory=dict)
    """People, by their access key: what EC2 lets each of them do, once the stack is there."""


def system_now() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)


class World:
    """Everything, from its making until it is left. Leaves no process and no file behind."""

    def __init__(
        self,
        plan: Plan,
        *,
        on_line: Callable[[str, str], None] = lambda _function, _line: None,
        on_completed: Callable[[str, Completed], None] = lambda _function, _completed: None,
    ) -> None:
        """Prepare a world.

        Args:
            on_line: called with each function's name and each line that it logs.
            on_completed: called with each function's name and the end of each invocation.
        """
        self.plan = plan
        self._on_line = on_line
        self._on_completed = on_completed
        self._stack = ExitStack()
        self.marker = f"agent-stack-{os.getpid()}-{id(self):x}"
        self.hosts: dict[str, LambdaHost] = {}
        self._wake_ups: list[Callable[[str], None]] = []

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def start(self) -> None:
        """Begin to invoke the functions: on their schedules, and the tracker by what EC2 tells of instances."""
        for function, host in self.hosts.items():
            schedule = Schedule(
                host,
                period_seconds=self.plan.schedule_seconds,
                seed=f"{self.plan.schedule_seed} {function}",
                on_completed=lambda completed, function=function: self._on_completed(function, completed),  # type: ignore[misc]  # mypy does not see through the default
            )
            self._stack.callback(schedule.close)
        signals = Wakes(
            self.hosts["tracker"],
            window_seconds=0.3,
            on_completed=lambda completed: self._on_completed("tracker", completed),
        )
        self._stack.callback(signals.close)
        self._wake_ups.append(signals.send)
        self.ec2.on_event(lambda change: signals.send(f"{change.instance.instance_id} {change.instance.state}"))

    def update(self, deployed: Deployed, functions: Path) -> None:
        """Deploy another version over what is there. What runs goes on; what begins is of that version."""
        self.deployed = deployed
        self._add_launch_template()
        self._callers |= self._functions()
        self._vm_front.permit(deployed.vm_policies)
        for function, host in self.hosts.items():
            host.update(
                handler=deployed.handlers[function],
                environment=self._environment(function),
                code_directory=functions,
                timeout_seconds=deployed.timeouts[function],
            )

    def on_leaving(self, end: Callable[[], None]) -> None:
        """Let something end with the world."""
        self._stack.callback(end)

    def assignments(self) -> Mapping[str, str]:
        """Jobs by instance id: whose mailbox was filled with what."""
        items = self.dynamodb.scan(TableName=self.deployed.mailbox_table)["Items"]
        return {item["instance_arn"]["S"].rpartition("/")[2]: item["job_id"]["S"] for item in items if "job_id" in item}

    def vms_of(self, job_id: str) -> list[Instance]:
        """The instances whose mailbox named that job, oldest first."""
        named = {instance_id for instance_id, named in self.assignments().items() if named == job_id}
        return [instance for instance in self.ec2.instances() if instance.instance_id in named]

    def ledger_items(self, kind: str) -> list[Mapping[str, Any]]:
        """The ledger's items of one kind: run, history, intent, tombstone."""
        items = self.dynamodb.scan(TableName=self.deployed.ledger_table)["Items"]
        return [item for item in items if item["pk"]["S"].partition("#")[0] == kind]

    def processes_left(self) -> list[str]:
        """The command lines of all processes that the world started and that still run."""
        return [" ".join(process.cmdline()[:4]) for process in leftover_processes(self.marker)]

    def _open(self) -> None:
        directory = Path(tempfile.mkdtemp(prefix="agent-stack-"))
        self._stack.callback(shutil.rmtree, directory, ignore_errors=True)
        self.buildkite = Buildkite(now=system_now, settings=self.plan.buildkite)
        self._buildkite = self._stack.enter_context(BuildkiteServer(self.buildkite))
        self.buildkite_url = self._buildkite.url
        self.aws_url = self._start_moto()
        self.deployed = self._deploy()
        self._launch_templates: dict[tuple[str, str], LaunchTemplateData] = {}
        self._add_launch_template()
        self.ec2 = self._start_ec2(directory)
        self._callers = {key: known(self.deployed) for key, known in self.plan.operators.items()} | self._functions()
        self.ec2_url = self._stack.enter_context(Ec2Server(self.ec2, callers=self._callers.get)).origin
        self.sqs_url = self._stack.enter_context(wakes_api(backend=self.aws_url, sent=self._wake_up)).origin
        self._asked_by_functions = {
            "AWS_ENDPOINT_URL": self.plan.between("aws", self.aws_url),
            "AWS_ENDPOINT_URL_EC2": self.plan.between("ec2", self.ec2_url),
            "AWS_ENDPOINT_URL_SQS": self.sqs_url,
        }
        for function in self.deployed.environments:
            self.hosts[function] = self._host(function)
        api = lambda_api(backend=self.aws_url, host_of=self._host_named)
        self.lambda_url = self._stack.enter_context(api).origin

    def _wake_up(self, queue_url: str, message: str) -> None:
        """A message is in the queue that wakes the tracker, as the event source mapping reads it."""
        if queue_url == self.deployed.environments["dispatcher"]["TRACKER_WAKES_URL"]:
            for send in self._wake_ups:
                send(message)

    def _host_named(self, name: str) -> LambdaHost | None:
        """The host of a function, by the name that CloudFormation gave it."""
        return next((host for function, host in self.hosts.items() if function in name.lower()), None)

    def _start_moto(self) -> str:
        server = AwsServer()
        self._stack.callback(server.close)
        return server.url

    def _endpoint(self) -> str:
        """Where functions and agents look for Buildkite."""
        return self.plan.endpoint or self.plan.between("buildkite", self._buildkite.origin) + BASE_PATH

    def _client(self, service: str) -> Any:  # noqa: ANN401  (a client of any service)
        return boto3.client(
            service,  # type: ignore[call-overload]  # any service's name
            region_name=REGION,
            endpoint_url=self.aws_url,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def _deploy(self) -> Deployed:
        network = self._client("ec2")
        vpc = network.describe_vpcs()["Vpcs"][0]["VpcId"]
        self._subnets = {
            subnet["SubnetId"]: Subnet(zone=subnet["AvailabilityZone"], vpc=subnet["VpcId"])
            for subnet in network.describe_subnets()["Subnets"]
        }
        self._parameters = parameters = self._given(vpc)
        ssm = self._client("ssm")
        if self.plan.token is not None:
            ssm.put_parameter(Name=parameters["AgentTokenParameter"], Value=self.plan.token, Type="SecureString")
        if self.plan.classes is not None:
            name = parameters.setdefault("ClassesParameter", "/classes")
            ssm.put_parameter(Name=name, Value=self.plan.classes, Type="String")
        store_objects(self._client("s3"), self.plan.objects, REGION)
        self.dynamodb: DynamoDBClient = self._client("dynamodb")
        return self.deploy(NAME, self.plan.template)

    def deploy(self, name: str, template: Path) -> Deployed:
        """Deploy a template with the parameters of this world, under that name."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of moto, about what it does not play
            return deploy(endpoint=self.aws_url, region=REGION, name=name, parameters=self._parameters, path=template)

    def _given(self, vpc: str) -> dict[str, str]:
        """The template's parameters."""
        return {
            **QUICK,
            "AgentTokenParameter": TOKEN_PARAMETER,
            "StackKey": NAME,
            "Queues": "default",
            "VpcId": vpc,
            "Subnets": ",".join(self._subnets),
            "BuildkiteEndpoint": self._endpoint(),
            **self.plan.parameters,
        }

    def _start_ec2(self, directory: Path) -> Ec2:
        imds = self._stack.enter_context(FakeImds(credentials_expire_at=system_now() + timedelta(hours=6)))
        self._vm_front = front = self._stack.enter_context(
            VmFront(
                backend=self.aws_url,
                region=REGION,
                account_id=self.deployed.account_id,
                policies=self.deployed.vm_policies,
            )
        )
        asked = self.plan.between("vm", front.origin)
        self.machines = LocalMachines(
            directory=directory,
            imds=imds,
            environment=dict.fromkeys(front.environment, asked),
            region=REGION,
            account_id=self.deployed.account_id,
            agent_binary=Path(os.environ.get("BUILDKITE_AGENT_BINARY") or AGENT_STUB),
            on_poweroff=lambda instance_id: self.ec2.powered_off(instance_id),  # noqa: PLW0108  (the EC2 is made next)
            world=self.marker,
        )
        self._stack.callback(self.machines.close)
        return Ec2(
            now=system_now,
            settings=Ec2Settings(
                region=REGION,
                account_id=self.deployed.account_id,
                subnets=self._subnets,
                pending=self.plan.pending,
                pending_of=self.plan.pending_of,
                shutting_down=self.plan.shutting_down,
            ),
            launch_templates=self._launch_template,
            machines=self.machines,
        )

    def _launch_template(self, template_id: str, version: str) -> LaunchTemplateData:
        return self._launch_templates[template_id, version]

    def _add_launch_template(self) -> None:
        """The version that is deployed; earlier ones stay."""
        given = self.deployed.launch_template
        tags = {
            specification["ResourceType"]: {tag["Key"]: tag["Value"] for tag in specification["Tags"]}
            for specification in given["TagSpecifications"]
        }
        data = LaunchTemplateData(
            user_data=self.deployed.user_data,
            tags=tags["instance"],
            tags_of=tags,
            security_groups=tuple(given["SecurityGroupIds"]),
            role=self.deployed.vm_role,
            http_tokens=given["MetadataOptions"]["HttpTokens"],
            metadata_tags=given["MetadataOptions"].get("InstanceMetadataTags") == "enabled",
        )
        self._launch_templates[self.deployed.launch_template_id, self.deployed.launch_template_version] = data

    def _functions(self) -> dict[str, Caller]:
        return {_access_key(function): self._caller(function) for function in self.deployed.function_policies}

    def _caller(self, function: str) -> Caller:
        """A function, as EC2 and IAM know it: by the role that the template gives it."""
        arn = f"arn:aws:sts::{self.deployed.account_id}:assumed-role/{NAME}-{function}/{function}"
        return Caller(arn=arn, policies=Policies(self.deployed.function_policies[function]))

    def _host(self, function: str) -> LambdaHost:
        host = LambdaHost(
            function=function,
            handler=self.deployed.handlers[function],
            environment=self._environment(function),
            code_directory=self.plan.functions,
            timeout_seconds=self.deployed.timeouts[function],
            memory_mib=self.deployed.memory_sizes[function],
            runtime=self.plan.runtime,
            on_line=lambda line: self._on_line(function, line),
        )
        self._stack.callback(host.close)
        return host

    def _environment(self, function: str) -> Mapping[str, str]:
        return {
            "PATH": os.defpath,
            "AWS_ACCESS_KEY_ID": _access_key(function),
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": REGION,
            **self._asked_by_functions,
            MARKER_VARIABLE: f"{self.marker}/{function}",
            **self.deployed.environments[function],
        }


def _access_key(function: str) -> str:
    return f"ASIA{function.upper()}"


def log_record(line: str) -> Mapping[str, Any] | None:
    """A function's log line as a record; None for what is none."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "level" in record else None
