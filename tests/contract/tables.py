"""The two tables of template.yaml in moto, and adapters over them."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from agent_stack.adapters import dynamodb
from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.dynamodb import DynamoLease, DynamoLedger, DynamoMailbox, Table, Transactions
from tests.simulator.clock import FixedDeadline, SeededIds, VirtualClock
from tests.simulator.deployment import translated_template
from tests.simulator.telemetry import RecordedTelemetry

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REGION = "eu-central-1"


class Tables:
    """Fresh tables; made inside moto's mock."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.ids = SeededIds()
        self.telemetry = RecordedTelemetry()
        self.client: DynamoDBClient = boto3.client(
            "dynamodb",
            region_name=REGION,
            aws_access_key_id="AKID",
            aws_secret_access_key="secret",
            config=Config(retries={"total_max_attempts": 1}),
        )
        for name in ("LedgerTable", "MailboxTable"):
            described: dict[str, Any] = translated_template(region=REGION)["Resources"][name]["Properties"]
            self.client.create_table(
                TableName=name,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=described["AttributeDefinitions"],
                KeySchema=described["KeySchema"],
            )
        calls = AwsCalls(
            clock=self.clock,
            ids=self.ids,
            deadline=FixedDeadline(),
            throttles=dynamodb.THROTTLES,
            server_errors=dynamodb.SERVER_ERRORS,
        )
        self.ledger_table = Table(client=self.client, calls=calls, name="LedgerTable")
        self.mailbox_table = Table(client=self.client, calls=calls, name="MailboxTable")
        self.ledger = DynamoLedger(
            table=self.ledger_table,
            mailboxes=self.mailbox_table,
            transactions=Transactions(
                client=self.client, calls=calls, clock=self.clock, ids=self.ids, telemetry=self.telemetry
            ),
            history=timedelta(days=30),
            clock=self.clock,
            ids=self.ids,
            telemetry=self.telemetry,
        )
        self.mailbox = DynamoMailbox(table=self.mailbox_table, clock=self.clock)
        self.dispatcher_lease = DynamoLease(table=self.ledger_table, function="dispatcher")

    def items(self, table: str = "LedgerTable") -> list[dict[str, Any]]:
        """Every item of a table, as stored."""
        return list(self.client.scan(TableName=table)["Items"])
