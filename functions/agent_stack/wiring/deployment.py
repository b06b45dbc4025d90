"""Deployment: creates the adapters behind the ports, once in each process."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol

import botocore.session
import httpx
from aws_lambda_powertools import Logger
from botocore.config import Config

from agent_stack.adapters import dynamodb, sqs
from agent_stack.adapters.artefact import shipped_program
from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.bounded_http import bounded_aws, bounded_httpx
from agent_stack.adapters.dynamodb import DynamoLease, DynamoLedger, DynamoMailbox, Table, Transactions, lean_answers
from agent_stack.adapters.dynamodb.programs import DynamoPrograms
from agent_stack.adapters.dynamodb.standby import DynamoStandbyVms
from agent_stack.adapters.dynamodb.transactions import AT_ONCE
from agent_stack.adapters.ec2 import Ec2Fleet
from agent_stack.adapters.ec2 import errors as ec2_errors
from agent_stack.adapters.ec2.catalog import Ec2InstanceCatalog
from agent_stack.adapters.ec2.instance_types import Ec2InstanceTypes
from agent_stack.adapters.ec2.instances import read_lean
from agent_stack.adapters.ec2.oddities import Oddities
from agent_stack.adapters.ec2.requests import LaunchTemplate
from agent_stack.adapters.ec2.subnets import Subnets
from agent_stack.adapters.powertools import PowertoolsTelemetry
from agent_stack.adapters.ssm import SsmClasses, SsmSecrets, parameters
from agent_stack.adapters.stacks_api import Dialect, HttpStacksApi
from agent_stack.adapters.stacks_api.caller import Caller
from agent_stack.adapters.system import InvocationDeadline, SystemClock, SystemIds, Threads
from agent_stack.domain.measures import Metric
from agent_stack.ports import Ports, Telemetry
from agent_stack.removal.retry_until_permitted import RetryUntilPermitted
from agent_stack.settings import Settings
from agent_stack.stack_keys import StackKeys
from agent_stack.wiring.check_parts import CheckParts
from agent_stack.wiring.silence import Silence

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ssm import SSMClient

VERSION = "0.2.0"
USER_AGENT = f"agent-stack-ec2/{VERSION}"

AWS_CONFIG = Config(
    retries={"total_max_attempts": 1, "mode": "standard"},  # only adapters.aws retries
    connect_timeout=2,
    read_timeout=12,  # a CreateFleet for hundreds of VMs takes seconds
    max_pool_connections=32,
    parameter_validation=False,  # it takes half of a write's CPU; the contract suites run with it on
    user_agent=USER_AGENT,  # botocore builds its own twice for each request, a tenth of its CPU
)
HTTP_LIMITS = httpx.Limits(max_connections=16, max_keepalive_connections=8, keepalive_expiry=30)


class Flushed(Telemetry, Protocol):
    """Telemetry that is written at the end of an invocation."""

    def flush(self) -> None:
        """Writes what was collected."""


class Deployment:
    """The adapters of one function of one deployment."""

    def __init__(self, *, function: str, environment: Mapping[str, str], only_looks: bool = False) -> None:
        """Reads the settings, and creates objects that need no network.

        Args:
            only_looks: an inspection: it registers no stack, and logs and measures nothing.

        Raises:
            ConfigurationError: the first wrong setting.
        """
        self.settings = Settings.from_environment(environment)
        self.function = function
        self.clock = SystemClock()
        self.ids = SystemIds()
        self.deadline = InvocationDeadline(self.clock)
        self._only_looks = only_looks
        self.telemetry: Flushed = Silence() if only_looks else self._powertools()
        self.telemetry.carry(version=VERSION)
        self._making = threading.Lock()
        self._session: Any = botocore.session.Session()  # boto3's session would load S3 transfers at every cold start
        self._at: dict[str, Any] = {"region_name": self.settings.region, "config": AWS_CONFIG}

    def _powertools(self) -> PowertoolsTelemetry:
        return PowertoolsTelemetry(
            logger=Logger(service=self.function, level=self.settings.log_level, location=None),
            namespace=self.settings.metrics_namespace,
            deployment=self.settings.deployment,
        )

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """Created at first use, like every client, because loading a service's model takes tens of milliseconds."""
        made: DynamoDBClient = bounded_aws(self._session.create_client("dynamodb", **self._at))
        return lean_answers.read_lean(made)

    @cached_property
    def ec2(self) -> "EC2Client":
        """See `dynamodb`."""
        made: EC2Client = read_lean(bounded_aws(self._session.create_client("ec2", **self._at)))
        return made

    def ec2_client(self) -> "EC2Client":
        """Creates the EC2 client once. Thread-safe, because worker threads call it."""
        with self._making:
            return self.ec2

    @cached_property
    def ssm(self) -> "SSMClient":
        """See `dynamodb`."""
        made: SSMClient = bounded_aws(self._session.create_client("ssm", **self._at))
        return made

    @cached_property
    def sqs(self) -> Any:  # noqa: ANN401  (a client without stubs)
        """See `dynamodb`. Made by a worker thread, at the first job on a standby VM."""
        return bounded_aws(self._session.create_client("sqs", **self._at))

    def sqs_client(self) -> Any:  # noqa: ANN401  (a client without stubs)
        """See `ec2_client`."""
        with self._making:
            return self.sqs

    @cached_property
    def stacks(self) -> HttpStacksApi:
        """The client of Buildkite's Stacks API."""
        settings = self.settings
        return HttpStacksApi(
            caller=Caller(
                base_url=settings.endpoint,
                http=self.http,
                secrets=self.secrets,
                clock=self.clock,
                ids=self.ids,
                deadline=self.deadline,
                telemetry=self.telemetry,
            ),
            queues=settings.queues,
            stack_key=self.stack_keys,
            dialect=None if settings.dialect == "auto" else Dialect(settings.dialect),
            job_tokens=settings.uses_job_tokens,
            metadata={
                "stack": "agent-stack-ec2",
                "version": VERSION,
                "deployment": settings.deployment,
                "region": settings.region,
                "account": settings.account_id,
                "max_instances": str(settings.max_instances),
            },
            telemetry=self.telemetry,
            only_looks=self._only_looks,
        )

    @cached_property
    def stack_keys(self) -> StackKeys:
        """The keys of the queues' stacks. Nothing is read before the first request to Buildkite."""
        return StackKeys(names=self.settings.stack_key_names, ledger=self.ledger)

    @cached_property
    def subnets(self) -> Subnets:
        """The operator's subnets, as EC2 knows them."""
        return Subnets(
            client=self.ec2_client,
            calls=self._ec2_calls(),
            clock=self.clock,
            telemetry=self.telemetry,
            subnet_ids=self.settings.subnet_ids,
        )

    @cached_property
    def instance_types(self) -> Ec2InstanceTypes:
        """EC2's instance types."""
        return Ec2InstanceTypes(client=self.ec2_client, calls=self._ec2_calls())

    @cached_property
    def ports(self) -> Ports:
        """All ports that the steps use."""
        settings = self.settings
        return Ports(
            stacks=self.stacks,
            fleet=Ec2Fleet(
                client=self.ec2_client,
                calls=self._ec2_calls(),
                clock=self.clock,
                deployment=settings.deployment,
                arn_prefix=settings.instance_arn_prefix,
                template=LaunchTemplate(
                    template_id=settings.launch_template_id, version=settings.launch_template_version
                ),
                subnets=self.subnets,
                policy=settings.launch_policy,
                oddities=Oddities(telemetry=self.telemetry),
            ),
            instance_types=self.instance_types,
            ledger=self.ledger,
            standby=DynamoStandbyVms(
                table=self._table(settings.ledger_table),
                mailboxes=self._table(settings.mailbox_table),
                transactions=self._transactions(),
                clock=self.clock,
                ids=self.ids,
                telemetry=self.telemetry,
            ),
            mailbox=DynamoMailbox(table=self._table(settings.mailbox_table), clock=self.clock),
            programs=DynamoPrograms(table=self._table(settings.mailbox_table), clock=self.clock),
            program=shipped_program(),
            classes=SsmClasses(
                parameters=self._parameters,
                name=settings.classes_parameter,
                default_name=settings.default_classes_parameter,
                deployment_tags=settings.agent_tags,
                shapes=self.instance_catalog,
                clock=self.clock,
                telemetry=self.telemetry,
            ),
            clock=self.clock,
            ids=self.ids,
            telemetry=self.telemetry,
            workers=Threads(),
            wake_ups=sqs.SqsWakeUps(
                client=self.sqs_client,
                calls=self._calls(sqs.THROTTLES, sqs.SERVER_ERRORS),
                queue_url=settings.tracker_wakes_url,
            ),
        )

    @cached_property
    def ledger(self) -> DynamoLedger:
        """The ledger."""
        return DynamoLedger(
            table=self._table(self.settings.ledger_table),
            mailboxes=self._table(self.settings.mailbox_table),
            transactions=self._transactions(),
            history=timedelta(days=self.settings.history_days),
            clock=self.clock,
            ids=self.ids,
            telemetry=self.telemetry,
        )

    @cached_property
    def instance_catalog(self) -> Ec2InstanceCatalog:
        """What EC2 says of instance types and images."""
        return Ec2InstanceCatalog(
            client=self.ec2_client,
            calls=self._ec2_calls(),
            instance_types=self.instance_types,
            parameter=lambda name: self._parameters.read(
                name, setting="ClassesParameter", remedy="Name an image parameter that is there."
            ),
            clock=self.clock,
        )

    @cached_property
    def lease(self) -> DynamoLease:
        """This function's lease."""
        return self.lease_of(self.function)

    def lease_of(self, function: str) -> DynamoLease:
        """The lease of either function. A removal takes both."""
        return DynamoLease(table=self._table(self.settings.ledger_table), function=function)

    @cached_property
    def http(self) -> httpx.Client:
        """The HTTP client for Buildkite and CloudFormation. It uses the usual variables for a proxy and a custom CA."""
        return bounded_httpx(httpx.Client(limits=HTTP_LIMITS, headers={"User-Agent": USER_AGENT}))

    def check(self) -> Sequence[str]:
        """Reads the token, the classes and the subnets, so that a wrong deployment fails at once.

        Returns:
            what is wrong with single classes and subnets, which stops nothing else. It names class and member.

        Raises:
            AgentStackError: the token or the document cannot be read, or there is no class or no subnet to use.
        """
        retry = RetryUntilPermitted(clock=self.clock, deadline=self.deadline)
        retry(self.secrets.agent_token)
        check = CheckParts(
            classes=self.ports.classes, subnets=self.subnets, policy=self.settings.policy, telemetry=self.telemetry
        )
        return check(retry)

    @contextmanager
    def invocation(self, remaining: timedelta) -> Iterator[None]:
        """One invocation with this much time; its metrics are written at its end."""
        self.clock.thawed()
        self.deadline.begin(remaining)
        try:
            yield
        finally:
            self.clock.ends()
            self.telemetry.flush()

    @cached_property
    def secrets(self) -> SsmSecrets:
        """The agent token."""
        return SsmSecrets(parameters=self._parameters, name=self.settings.token_parameter)

    @cached_property
    def _parameters(self) -> parameters.Parameters:
        return parameters.Parameters(
            client=lambda: self.ssm, calls=self._calls(parameters.THROTTLES, parameters.SERVER_ERRORS)
        )

    def _table(self, name: str) -> Table:
        return Table(client=self.dynamodb, calls=self._calls(dynamodb.THROTTLES, dynamodb.SERVER_ERRORS), name=name)

    def _transactions(self) -> Transactions:
        return Transactions(
            client=self.dynamodb,
            calls=self._calls(dynamodb.THROTTLES, dynamodb.SERVER_ERRORS),
            clock=self.clock,
            ids=self.ids,
            telemetry=self.telemetry,
            workers=self._writers,
        )

    @cached_property
    def _writers(self) -> Threads:
        return Threads(AT_ONCE, name="write")

    def _ec2_calls(self) -> AwsCalls:
        """AWS calls that count throttles, because other deployments of the account use the same budget."""
        calls = self._calls(ec2_errors.NOTHING_DONE, ec2_errors.SERVER)
        return replace(calls, throttled=partial(self.telemetry.count, Metric.EC2_THROTTLED))

    def _calls(self, throttles: frozenset[str], server_errors: frozenset[str]) -> AwsCalls:
        return AwsCalls(
            clock=self.clock,
            ids=self.ids,
            deadline=self.deadline,
            throttles=throttles,
            server_errors=server_errors,
        )
