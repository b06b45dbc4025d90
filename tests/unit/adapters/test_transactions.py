"""Transactions go out several at a time, and each change still succeeds or fails for itself."""

import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.dynamodb import SERVER_ERRORS, THROTTLES, Transactions
from agent_stack.adapters.dynamodb.transactions import AT_ONCE, WRITES_OF_A_TRANSACTION, Group
from agent_stack.adapters.system import Threads
from agent_stack.domain.errors import WaitError
from tests.simulator.clock import FixedDeadline, VirtualClock
from tests.simulator.identity import SeededIds
from tests.simulator.telemetry import RecordedTelemetry

WRITTEN: dict[str, Any] = {"ConsumedCapacity": []}


class Client:
    """DynamoDB, which answers when as many transactions as it waits for are under way."""

    def __init__(self, together: int) -> None:
        self._meet = threading.Barrier(together, timeout=5)
        self.refuses = ""
        """The number of the change whose condition does not hold."""
        self.fails = ""
        """The number of the change that DynamoDB finds malformed."""

    def transact_write_items(self, *, TransactItems: list[Any], **_: object) -> dict[str, Any]:  # noqa: N803  (botocore's)
        """See botocore."""
        if len(TransactItems) == WRITES_OF_A_TRANSACTION:
            self._meet.wait()
        numbers = [write["Put"]["number"] for write in TransactItems]
        if self.fails in numbers:
            raise ClientError({"Error": {"Code": "ValidationException"}}, "TransactWriteItems")
        if self.refuses in numbers:
            codes = [{"Code": "ConditionalCheckFailed" if n == self.refuses else "None"} for n in numbers]
            answer: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": codes}
            raise ClientError(answer, "TransactWriteItems")
        return WRITTEN


def transactions(client: Client) -> Transactions:
    clock, ids = VirtualClock(), SeededIds()
    calls = AwsCalls(clock=clock, ids=ids, deadline=FixedDeadline(), throttles=THROTTLES, server_errors=SERVER_ERRORS)
    return Transactions(
        client=client,  # type: ignore[arg-type]  # of botocore's client the one method
        calls=calls,
        clock=clock,
        ids=ids,
        telemetry=RecordedTelemetry(),
        workers=Threads(AT_ONCE),
    )


def changes(count: int) -> list[Group[int]]:
    return [Group(subject=n, write_id=f"w{n}", writes=({"Put": {"number": str(n)}},)) for n in range(count)]


def test_as_many_as_may_be_are_under_way_at_a_time() -> None:
    count = AT_ONCE * WRITES_OF_A_TRANSACTION
    assert transactions(Client(AT_ONCE)).write(changes(count)) == list(range(count))


@pytest.mark.parametrize("number", [0, 150, 399])
def test_a_refused_change_costs_no_other_its_write(number: int) -> None:
    client = Client(AT_ONCE)
    client.refuses = str(number)
    undecided: list[int] = []
    won = transactions(client).write(changes(AT_ONCE * WRITES_OF_A_TRANSACTION), undecided)
    assert won == [n for n in range(AT_ONCE * WRITES_OF_A_TRANSACTION) if n != number]
    assert undecided == []


def test_a_malformed_change_is_found_and_said() -> None:
    client = Client(AT_ONCE)
    client.fails = "250"
    undecided: list[int] = []
    won = transactions(client).write(changes(AT_ONCE * WRITES_OF_A_TRANSACTION), undecided)
    assert len(won) == AT_ONCE * WRITES_OF_A_TRANSACTION - 1
    assert undecided == [250]


def test_when_nothing_was_written_the_failure_is_raised() -> None:
    client = Client(1)
    client.fails = "0"
    with pytest.raises(WaitError, match="ValidationException"):
        transactions(client).write(changes(1))
