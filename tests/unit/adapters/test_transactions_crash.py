"""Four transactions are under way at once when a process dies or answers are lost: nothing is written twice or lost."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.dynamodb import SERVER_ERRORS, THROTTLES, Transactions
from agent_stack.adapters.dynamodb.transactions import AT_ONCE, WRITES_OF_A_TRANSACTION, Group
from agent_stack.adapters.system import Threads
from agent_stack.ports import Task, Workers
from tests.simulator.clock import FixedDeadline, VirtualClock
from tests.simulator.identity import SeededIds
from tests.simulator.telemetry import RecordedTelemetry

COUNT = AT_ONCE * WRITES_OF_A_TRANSACTION
SUBSETS = [frozenset(n for n in range(AT_ONCE) if bits >> n & 1) for bits in range(2**AT_ONCE)]
"""Every choice among the four transactions, none and all included."""

ResultT = TypeVar("ResultT")


class Died(BaseException):
    """The process is no more."""


class Table:
    """DynamoDB with changes that each want an item that is not there yet. It signs what stands there on a refusal.

    Attributes:
        takes: which of the four transactions take effect; the others never reach it.
        loses: those whose first answer is lost.
        silent: those whose further answers are throttled.
    """

    def __init__(self) -> None:
        self.items: dict[str, str] = {}
        self.written: Counter[str] = Counter()
        self.takes = self.all = frozenset(range(AT_ONCE))
        self.loses: frozenset[int] = frozenset()
        self.silent: frozenset[int] = frozenset()
        self._lost: set[int] = set()
        self._lock = threading.Lock()

    def transact_write_items(self, *, TransactItems: list[Any], **_: object) -> dict[str, Any]:  # noqa: N803  (botocore's)
        """See botocore."""
        with self._lock:
            puts = [write["Put"] for write in TransactItems]
            number = int(puts[0]["number"]) // WRITES_OF_A_TRANSACTION
            if number not in self.takes:
                raise Died
            if number in self._lost and number in self.silent:
                raise ClientError({"Error": {"Code": "ThrottlingException"}}, "TransactWriteItems")
            standing = [self.items.get(put["number"]) for put in puts]
            if any(standing):
                reasons: Any = [
                    {"Code": "None"}
                    if by is None
                    else {"Code": "ConditionalCheckFailed", "Item": {"write_id": {"S": by}}}
                    for by in standing
                ]
                answer: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
                raise ClientError(answer, "TransactWriteItems")
            self.items |= {put["number"]: put["write_id"] for put in puts}
            self.written.update(put["number"] for put in puts)
            if number in self.loses and number not in self._lost:
                self._lost.add(number)
                raise ReadTimeoutError(endpoint_url="https://aws.invalid")
            return {"ConsumedCapacity": []}


class UnderWay:
    """What will have an answer only when the process is no more."""

    def done(self) -> bool:
        """See the port."""
        return False

    def result(self) -> Any:  # noqa: ANN401  (there is none)
        """See the port."""
        raise Died


class Doomed:
    """Workers of a process that dies while all its transactions are under way."""

    def submit(self, task: Callable[[], ResultT]) -> Task[ResultT]:
        """See the port."""
        with suppress(Died):
            task()
        return UnderWay()

    def wait(self, tasks: Sequence[Task[Any]], at_most: timedelta) -> None:
        """See the port."""
        raise Died


def process(table: Table, workers: Workers | None = None) -> Transactions:
    clock, ids = VirtualClock(), SeededIds()
    calls = AwsCalls(clock=clock, ids=ids, deadline=FixedDeadline(), throttles=THROTTLES, server_errors=SERVER_ERRORS)
    return Transactions(
        client=table,  # type: ignore[arg-type]  # of botocore's client the one method
        calls=calls,
        clock=clock,
        ids=ids,
        telemetry=RecordedTelemetry(),
        workers=workers or Threads(AT_ONCE),
    )


def changes(by: str) -> list[Group[int]]:
    """The same changes, signed by that process."""
    return [
        Group(subject=n, write_id=f"{by}{n}", writes=({"Put": {"number": str(n), "write_id": f"{by}{n}"}},))
        for n in range(COUNT)
    ]


def members(numbers: frozenset[int]) -> list[int]:
    return [n for n in range(COUNT) if n // WRITES_OF_A_TRANSACTION in numbers]


@pytest.mark.parametrize("took", SUBSETS, ids=lambda took: "".join(map(str, sorted(took))) or "none")
def test_a_process_dies_and_the_next_one_writes_what_is_missing_and_nothing_twice(took: frozenset[int]) -> None:
    table = Table()
    table.takes = took
    with pytest.raises(Died):
        process(table, Doomed()).write(changes("first"))
    assert sorted(map(int, table.items)) == members(took)
    table.takes = table.all
    won = process(table).write(changes("second"))
    assert won == members(table.all - took), "what stands there is the first one's, and is not claimed"
    assert set(table.written.values()) == {1}
    assert len(table.items) == COUNT


@pytest.mark.parametrize("lost", SUBSETS, ids=lambda lost: "".join(map(str, sorted(lost))) or "none")
def test_lost_answers_cost_a_repeat_that_knows_its_own_writes(lost: frozenset[int]) -> None:
    table = Table()
    table.loses = lost
    undecided: list[int] = []
    assert process(table).write(changes("one"), undecided) == list(range(COUNT))
    assert undecided == []
    assert set(table.written.values()) == {1}


@pytest.mark.parametrize("lost", SUBSETS[1:], ids=lambda lost: "".join(map(str, sorted(lost))))
def test_what_nobody_answers_any_more_is_undecided_and_a_later_write_finds_it(lost: frozenset[int]) -> None:
    table = Table()
    table.loses = table.silent = lost
    undecided: list[int] = []
    try:
        won = process(table).write(changes("one"), undecided)
    except Exception:  # noqa: BLE001  (when none of the four was answered the first failure is raised)
        assert lost == table.all
        won, undecided = [], members(lost)
    assert won == members(table.all - lost)
    assert undecided == members(lost)
    table.silent = frozenset()
    assert process(table).write(changes("two")) == []
    assert set(table.written.values()) == {1}
