"""Many conditional writes in few requests, each succeeding or failing for itself.

A transaction of DynamoDB is all or nothing. Here each change is a group of writes that belong together; groups share
transactions, and one whose condition does not hold is dropped while the others are sent again without it.

Every group signs its items with a write id. When an answer is lost and the repeated request is refused, the item that
stands there tells whose write it was: so nothing is ever written twice, and a write that took effect is known to have.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from agent_stack.adapters.aws import AwsCalls, RefusedError, RefusedInDoubtError
from agent_stack.adapters.dynamodb.table import items_of, written
from agent_stack.domain.errors import AgentStackError, RetryError, UnknownOutcomeError, WaitError
from agent_stack.ports import Clock, Ids, Telemetry

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WRITES_OF_A_TRANSACTION = 100  # source: TransactWriteItems
MAX_ROUNDS = 6
CONFLICT_PAUSE = timedelta(milliseconds=50)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Transactions:
    """Writes groups, as many a request as fit."""

    client: "DynamoDBClient"
    calls: AwsCalls
    clock: Clock
    ids: Ids
    telemetry: Telemetry

    def write(self, groups: Sequence[Group[SubjectT]], undecided: list[SubjectT] | None = None) -> list[SubjectT]:
        """The subjects of the groups that took effect, in the order given.

        Args:
            undecided: gets the subjects of the groups that failed, and not because of their conditions.

        Raises:
            AgentStackError: none did, and not because of their conditions.
        """
        won: set[str] = set()
        refused: set[str] = set()
        doubted: set[str] = set()
        failures: list[AgentStackError] = []
        pending = list(groups)
        for attempt in range(MAX_ROUNDS):
            again: list[Group[SubjectT]] = []
            for chunk in _chunks(pending):
                again += self._send(chunk, won, refused, doubted, failures)
            if not again:
                break
            # Fewer are left when some were dropped; otherwise somebody else is at the same items.
            if len(again) == len(pending):
                self.clock.sleep(CONFLICT_PAUSE * 2**attempt * (0.5 + self.ids.fraction()))
            pending = again
        else:
            failures.append(RetryError(f"TransactWriteItems: {len(pending)} changes met conflicts {MAX_ROUNDS} times"))
        if failures and not won:
            raise failures[0]
        for failure in failures:
            self.telemetry.info("ledger_writes_failed", error=str(failure))
        if undecided is not None:
            undecided += [group.subject for group in groups if group.write_id not in won | refused]
        return [group.subject for group in groups if group.write_id in won]

    def _send(
        self,
        chunk: list[Group[SubjectT]],
        won: set[str],
        refused: set[str],
        doubted: set[str],
        failures: list[AgentStackError],
    ) -> list[Group[SubjectT]]:
        """Send one transaction; the groups that are to be sent again.

        Args:
            refused: write ids of groups whose condition does not hold; this adds to it.
            doubted: write ids of groups that an earlier try may have written; this adds to it.
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
            failures.append(error)
            return []
        else:
            won |= {group.write_id for group in chunk}
            return []
        reasons = _reasons(chunk, refusal)
        if reasons:
            return _to_send_again(chunk, reasons, won, refused, doubted, failures)
        if len(chunk) > 1 and not isinstance(failure, UnknownOutcomeError):  # one malformed write fails all: find it
            middle = len(chunk) // 2
            halves = (chunk[:middle], chunk[middle:])
            return [group for half in halves for group in self._send(half, won, refused, doubted, failures)]
        failures.append(failure)
        return []

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


def _to_send_again(
    chunk: Sequence[Group[SubjectT]],
    reasons: Sequence[Mapping[str, Any]],
    won: set[str],
    refused: set[str],
    doubted: set[str],
    failures: list[AgentStackError],
) -> list[Group[SubjectT]]:
    """The groups of a cancelled transaction that may still be written; adds the others to `won` and `refused`."""
    again: list[Group[SubjectT]] = []
    remaining = iter(reasons)
    for group in chunk:
        its = [next(remaining) for _ in group.writes]
        codes = {str(reason.get("Code") or "None") for reason in its}
        if any((reason.get("Item") or {}).get("write_id") == {"S": group.write_id} for reason in its):
            won.add(group.write_id)
        elif codes <= _HELD_UP:
            again.append(group)
        elif group.write_id in doubted:
            failures.append(UnknownOutcomeError("TransactWriteItems: refused after a try that may have taken effect"))
        elif "ConditionalCheckFailed" not in codes:
            failures.append(WaitError(f"TransactWriteItems: {', '.join(sorted(codes - _HELD_UP))}"))
        else:
            refused.add(group.write_id)
    return again
