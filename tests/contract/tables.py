"""Stores of records for the contract suites: the tables of template.yaml in moto, and memory."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError

from agent_stack.adapters import dynamodb
from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.dynamodb import DynamoLease, DynamoLedger, DynamoMailbox, Table, Transactions, lean_answers
from agent_stack.adapters.dynamodb.programs import DynamoPrograms
from agent_stack.adapters.dynamodb.standby import DynamoStandbyVms
from agent_stack.domain.identifiers import InstanceArn
from agent_stack.domain.runs import Run
from agent_stack.domain.states import BootStage
from agent_stack.domain.vms import Vm
from agent_stack.ports import Lease, Ledger, Mailbox, Programs, StandbyVms
from agent_stack_cli.pausing import write_pause, write_resume
from tests.simulator.clock import EPOCH, FixedDeadline, VirtualClock
from tests.simulator.deployment import translated_template
from tests.simulator.identity import SeededIds
from tests.simulator.memory import MemoryLease, MemoryLedger, MemoryMailbox, MemoryStandbyVms, Store
from tests.simulator.memory.programs import MemoryPrograms
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import AtOnce
from tests.unit.values import a_letter

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REGION = "eu-central-1"


def dynamo_calls(clock: VirtualClock, ids: SeededIds | None = None) -> AwsCalls:
    """How DynamoDB is asked: as in production, on a virtual clock."""
    return AwsCalls(
        clock=clock,
        ids=ids or SeededIds(),
        deadline=FixedDeadline(),
        throttles=dynamodb.THROTTLES,
        server_errors=dynamodb.SERVER_ERRORS,
    )


class AnyTables(Protocol):
    """What every store of records offers to the contract suites."""

    clock: VirtualClock
    ids: SeededIds
    telemetry: RecordedTelemetry
    ledger: Ledger
    mailbox: Mailbox
    programs: Programs
    standby: StandbyVms
    dispatcher_lease: Lease

    def vm_takes(self, arn: InstanceArn) -> str | None:
        """A VM takes its credential; None when it is gone."""

    def vm_reports(self, arn: InstanceArn, stage: str, detail: str, seconds: float) -> None:
        """A VM says how far it is."""

    def vm_reads_hold(self, arn: InstanceArn) -> int | None:
        """A VM whose boot failed reads how long it is held; None when nothing says so."""

    def operator_pauses(self, queue: str, at: datetime) -> None:
        """The operator pauses a queue, or `*`."""

    def operator_resumes(self, queue: str, at: datetime) -> None:
        """The operator resumes it."""


class MemoryTables:
    """Records in memory."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.ids = SeededIds()
        self.telemetry = RecordedTelemetry()
        self.store = Store()
        self.ledger: Ledger = MemoryLedger(store=self.store)
        self.mailbox: Mailbox = MemoryMailbox(store=self.store)
        self.programs: Programs = MemoryPrograms(clock=self.clock)
        self.standby: StandbyVms = MemoryStandbyVms(store=self.store)
        self.dispatcher_lease: Lease = MemoryLease(store=self.store, function="dispatcher")

    def vm_takes(self, arn: InstanceArn) -> str | None:
        """A VM takes its credential; None when it is gone."""
        return self.store.take_credential(arn)

    def vm_reports(self, arn: InstanceArn, stage: str, detail: str, seconds: float) -> None:
        """A VM says how far it is."""
        self.store.report(arn, BootStage.parse(stage), detail, seconds)

    def vm_reads_hold(self, arn: InstanceArn) -> int | None:
        """A VM whose boot failed reads how long it is held."""
        return self.store.hold_seconds(arn)

    def operator_pauses(self, queue: str, at: datetime) -> None:
        """The operator pauses a queue, or `*`."""
        self.store.pause(at=at, queue=queue)

    def operator_resumes(self, queue: str, at: datetime) -> None:
        """The operator resumes it."""
        self.store.resume(at=at, queue=queue)


class Tables:
    """The tables of template.yaml; made inside moto's mock."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.ids = SeededIds()
        self.telemetry = RecordedTelemetry()
        self.client: DynamoDBClient = lean_answers.read_lean(
            boto3.client(
                "dynamodb",
                region_name=REGION,
                aws_access_key_id="AKID",
                aws_secret_access_key="secret",
                config=Config(retries={"total_max_attempts": 1}),
            )
        )
        for name in ("LedgerTable", "MailboxTable"):
            described: dict[str, Any] = translated_template(region=REGION)["Resources"][name]["Properties"]
            self.client.create_table(
                TableName=name,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=described["AttributeDefinitions"],
                KeySchema=described["KeySchema"],
            )
        calls = dynamo_calls(self.clock, self.ids)
        self.ledger_table = Table(client=self.client, calls=calls, name="LedgerTable")
        self.mailbox_table = Table(client=self.client, calls=calls, name="MailboxTable")
        transactions = Transactions(
            client=self.client, calls=calls, clock=self.clock, ids=self.ids, telemetry=self.telemetry, workers=AtOnce()
        )
        self.standby: StandbyVms = DynamoStandbyVms(
            table=self.ledger_table,
            mailboxes=self.mailbox_table,
            transactions=transactions,
            clock=self.clock,
            ids=self.ids,
            telemetry=self.telemetry,
        )
        self.ledger: Ledger = DynamoLedger(
            table=self.ledger_table,
            mailboxes=self.mailbox_table,
            transactions=transactions,
            history=timedelta(days=30),
            clock=self.clock,
            ids=self.ids,
            telemetry=self.telemetry,
        )
        self.mailbox: Mailbox = DynamoMailbox(table=self.mailbox_table, clock=self.clock)
        self.programs: Programs = DynamoPrograms(table=self.mailbox_table, clock=self.clock)
        self.dispatcher_lease: Lease = DynamoLease(table=self.ledger_table, function="dispatcher")

    def vm_takes(self, arn: InstanceArn) -> str | None:
        """A VM takes its credential, as the boot program does; None when it is gone."""
        try:
            answer = self.client.update_item(
                TableName="MailboxTable",
                Key={"instance_arn": {"S": arn}},
                UpdateExpression="REMOVE credential SET stage = :stage",
                ConditionExpression="attribute_exists(credential)",
                ExpressionAttributeValues={":stage": {"S": "credential_taken"}},
                ReturnValues="UPDATED_OLD",
            )
        except self.client.exceptions.ConditionalCheckFailedException:
            return None
        return answer["Attributes"]["credential"]["S"]

    def vm_reports(self, arn: InstanceArn, stage: str, detail: str, seconds: float) -> None:
        """A VM says how far it is, as the boot program does."""
        self.client.update_item(
            TableName="MailboxTable",
            Key={"instance_arn": {"S": arn}},
            UpdateExpression="SET stage = :stage, detail = :detail, stage_seconds = :seconds",
            ConditionExpression="attribute_exists(instance_arn)",
            ExpressionAttributeValues={
                ":stage": {"S": stage},
                ":detail": {"S": detail},
                ":seconds": {"N": str(seconds)},
            },
        )

    def vm_reads_hold(self, arn: InstanceArn) -> int | None:
        """A VM whose boot failed reads how long it is held, as the boot program does: it knows texts only."""
        answer = self.client.get_item(
            TableName="MailboxTable",
            Key={"instance_arn": {"S": arn}},
            ConsistentRead=True,
            ProjectionExpression="hold_seconds",
        )
        stored = answer.get("Item", {}).get("hold_seconds")
        return None if stored is None else int(stored["S"])

    def operator_pauses(self, queue: str, at: datetime) -> None:
        """The operator pauses a queue, or `*`, as the command does."""
        write_pause(self.client, "LedgerTable", queue=queue, at=at, by="alice")

    def operator_resumes(self, queue: str, at: datetime) -> None:
        """The operator resumes it, as the command does."""
        write_resume(self.client, "LedgerTable", queue=queue, at=at)

    def items(self, table: str = "LedgerTable") -> list[dict[str, Any]]:
        """Every item of a table, as stored."""
        return list(self.client.scan(TableName=table)["Items"])


def another_process(dynamo: Tables) -> DynamoLedger:
    """The ledger as a process sees it that has seen nothing yet."""
    assert isinstance(dynamo.ledger, DynamoLedger)
    return replace(dynamo.ledger)


def lose_next_answer(dynamo: Tables, operation: str) -> None:
    """The request takes effect; the client never learns, and asks again."""
    answers = iter([ConnectionClosedError(endpoint_url="https://dynamodb")])

    def lose(**_: object) -> None:
        error = next(answers, None)
        if error is not None:
            raise error

    dynamo.client.meta.events.register_first(f"after-call.dynamodb.{operation}", lose)


def bind(tables: AnyTables, run: Run, vm: Vm) -> list[Run]:
    """Bind that run to that VM at the epoch; the run as it is then, nothing where another was faster."""
    bound = run.bound(vm, now=EPOCH)
    return list(tables.ledger.bind([(bound, a_letter(bound, vm))]))
