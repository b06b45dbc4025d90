"""Many conditional writes in few requests, each succeeding or failing for itself.

A transaction of DynamoDB is all or nothing. Here each change is a group of writes that belong together; groups share
transactions, and one whose condition does not hold is dropped while the others are sent again without it.

Every group signs its items with a write id. When an answer is lost and the repeated request is refused, the item that
stands there tells whose write it was: so nothing is ever written twice, and a write that took effect is known to have.

Several transactions are under way at a time, because DynamoDB takes longer to answer one than to take more of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from agent_stack.adapters.aws import AwsCalls, RefusedError, RefusedInDoubtError
from agent_stack.adapters.dynamodb.table import items_of, written
from agent_stack.domain.errors import AgentStackError, RetryError, UnknownOutcomeError, WaitError
from agent_stack.ports import Clock, Ids, Telemetry, Workers

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WRITES_OF_A_TRANSACTION = 100  # source: TransactWriteItems
MAX_ROUNDS = 6
CONFLICT_PAUSE = timedelta(milliseconds=50)
AT_ONCE = 4
"""Transactions under way at a time. 400 items are 800 write units, and a new on-demand table takes 4,000 a second."""

WAIT = timedelta(minutes=1)
"""Of one look whether all are answered. Each call bounds itself, so this only decides how often to look again."""

_HELD_UP = frozenset({"None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
"""Reasons that say nothing against the group itself: it was another's condition, or the wrong moment."""

SubjectT = TypeVar("SubjectT")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Group(Generic[SubjectT]):
    """Writes that happen together or not at all. May carry a credential; has no repr of its contents.

    Attributes:
        subject: what the caller knows the group by.
        write_id: stands in an item of the group as `write_id`.
        writes: entries of TransactItems.
    """

    subject: SubjectT
    write_id: str
    writes: tuple[Mapping[str, Any], ...]

    def __repr__(self) -> str:
        return f"Group({len(self.writes)} writes)"


@dataclass(slots=True, kw_only=True)
class _Sent(Generic[SubjectT]):
    """What became of the groups of one transaction, or of several.

    Attributes:
        won, refused: write ids of groups that took effect, and of those whose condition does not hold.
        doubted: write ids of groups that a try may have written.
        again: the groups to send again.
    """

    won: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    doubted: set[str] = field(default_factory=set)
    failures: list[AgentStackError] = field(default_factory=list)
    again: list[Group[SubjectT]] = field(default_factory=list)

    def add(self, other: "_Sent[SubjectT]") -> None:
        """Takes in what became of others."""
        self.won |= other.won
        self.refused |= other.refused
        self.doubted |= other.doubted
        self.failures += other.failures
        self.again += other.again


@dataclass(frozen=True, slots=True, kw_only=True)
class Transactions:
    """Writes groups, as many a request as fit.

    Attributes:
        workers: threads of its own, `AT_ONCE` of them: others may wait for EC2 for long.
    """

    client: "DynamoDBClient"
    calls: AwsCalls
    clock: Clock
    ids: Ids
    telemetry: Telemetry
    workers: Workers

    def write(self, groups: Sequence[Group[SubjectT]], undecided: list[SubjectT] | None = None) -> list[SubjectT]:
        """The subjects of the groups that took effect, in the order given.

        Args:
            undecided: gets the subjects of the groups that failed, and not because of their conditions.

        Raises:
            AgentStackError: none did, and not because of their conditions.
        """
        done: _Sent[SubjectT] = _Sent()
        pending = list(groups)
        for attempt in range(MAX_ROUNDS):
            done.again = []
            for sent in self._send_all(list(_chunks(pending)), frozenset(done.doubted)):
                done.add(sent)
            if not done.again:
                break
            # Fewer are left when some were dropped; otherwise somebody else is at the same items.
            if len(done.again) == len(pending):
                self.clock.sleep(CONFLICT_PAUSE * 2**attempt * (0.5 + self.ids.fraction()))
            pending = done.again
        else:
            met = f"{len(pending)} changes met conflicts {MAX_ROUNDS} times"
            done.failures.append(RetryError(f"TransactWriteItems: {met}"))
        if done.failures and not done.won:
            raise done.failures[0]
        for failure in done.failures:
            self.telemetry.info("ledger_writes_failed", error=str(failure))
        if undecided is not None:
            undecided += [group.subject for group in groups if group.write_id not in done.won | done.refused]
        return [group.subject for group in groups if group.write_id in done.won]

    def _send_all(self, chunks: Sequence[list[Group[SubjectT]]], doubted: frozenset[str]) -> Sequence[_Sent[SubjectT]]:
        """Sends one transaction for each chunk, several at a time; one alone needs no thread."""
        if len(chunks) <= 1:
            return [self._send(chunk, doubted) for chunk in chunks]
        tasks = [self.workers.submit(partial(self._send, chunk, doubted)) for chunk in chunks]
        while not all(task.done() for task in tasks):
            self.workers.wait(tasks, WAIT)
        return [task.result() for task in tasks]

    def _send(self, chunk: list[Group[SubjectT]], doubted: frozenset[str]) -> _Sent[SubjectT]:
        """Sends one transaction.

        Args:
            doubted: write ids of groups that an earlier try may have written.
        """
        failure: AgentStackError
        try:
            self.calls.call("TransactWriteItems", partial(self._transact, chunk))
        except RefusedInDoubtError as error:
            doubted |= {group.write_id for group in chunk}
            refusal, failure = error.refusal, error
        except RefusedError as error:
            refusal, failure = error, WaitError(f"TransactWriteItems: {error}")
        except AgentStackError as error:
            return _Sent(failures=[error])
        else:
            return _Sent(won={group.write_id for group in chunk})
        reasons = _reasons(chunk, refusal)
        if reasons:
            return _judged(chunk, reasons, doubted)
        if len(chunk) > 1 and not isinstance(failure, UnknownOutcomeError):  # one malformed write fails all: find it
            middle = len(chunk) // 2
            halves = self._send(chunk[:middle], doubted)
            halves.add(self._send(chunk[middle:], doubted))
            return halves
        return _Sent(doubted=set(doubted).intersection(g.write_id for g in chunk), failures=[failure])

    def _transact(self, chunk: list[Group[SubjectT]]) -> None:
        writes: list[Any] = [write for group in chunk for write in group.writes]
        written(self.client.transact_write_items(TransactItems=writes, ReturnConsumedCapacity="TOTAL"))


def _reasons(chunk: Sequence[Group[SubjectT]], refusal: RefusedError) -> Sequence[Mapping[str, Any]]:
    """The reasons for a cancellation, one for each write; none when the refusal gives no such list."""
    found = refusal.response.get("CancellationReasons")
    if refusal.code != "TransactionCanceledException" or not isinstance(found, list):
        return ()
    if len(found) != sum(len(group.writes) for group in chunk):
        return ()
    try:
        for reason in found:
            items_of([reason.get("Item") or {}])
    except (AttributeError, TypeError, ValueError, ArithmeticError):
        return ()
    return found


def _chunks(groups: list[Group[SubjectT]]) -> Iterator[list[Group[SubjectT]]]:
    chunk: list[Group[SubjectT]] = []
    size = 0
    for group in groups:
        if chunk and size + len(group.writes) > WRITES_OF_A_TRANSACTION:
            yield chunk
            chunk, size = [], 0
        chunk.append(group)
        size += len(group.writes)
    if chunk:
        yield chunk


def _judged(
    chunk: Sequence[Group[SubjectT]], reasons: Sequence[Mapping[str, Any]], doubted: frozenset[str]
) -> _Sent[SubjectT]:
    """What became of each group of a cancelled transaction."""
    sent: _Sent[SubjectT] = _Sent(doubted=set(doubted).intersection(group.write_id for group in chunk))
    remaining = iter(reasons)
    for group in chunk:
        its = [next(remaining) for _ in group.writes]
        codes = {str(reason.get("Code") or "None") for reason in its}
        if any((reason.get("Item") or {}).get("write_id") == {"S": group.write_id} for reason in its):
            sent.won.add(group.write_id)
        elif codes <= _HELD_UP:
            sent.again.append(group)
        elif group.write_id in doubted:
            unsure = UnknownOutcomeError("TransactWriteItems: refused after a try that may have taken effect")
            sent.failures.append(unsure)
        elif "ConditionalCheckFailed" not in codes:
            sent.failures.append(WaitError(f"TransactWriteItems: {', '.join(sorted(codes - _HELD_UP))}"))
        else:
            sent.refused.add(group.write_id)
    return sent
