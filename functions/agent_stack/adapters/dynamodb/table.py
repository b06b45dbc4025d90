"""Single questions to one DynamoDB table: asked again while that is safe, every refusal translated."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from agent_stack.adapters.aws import AwsCalls, RefusedError, RefusedInDoubtError, required, required_text
from agent_stack.adapters.pages import members
from agent_stack.domain.errors import RetryError, WaitError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

THROTTLES = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
SERVER_ERRORS = frozenset({"InternalServerError", "InternalFailure", "ServiceUnavailable"})

KEYS_OF_A_BATCH = 100  # source: BatchGetItem
MAX_BATCH_ROUNDS = 8
CONDITION_FAILED = "ConditionalCheckFailedException"

ResultT = TypeVar("ResultT")
Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A write that its condition forbade, and the item as it stands; None where there is no item.

    Attributes:
        in_doubt: an earlier try of the same write may have taken effect, so that the condition may have met our own.
    """

    item: Item | None
    in_doubt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table."""

    client: "DynamoDBClient"
    calls: AwsCalls
    name: str

    def query(self, partition: str, *, only: Sequence[str] = (), where: str = "") -> Iterator[Item]:
        """Every item of a partition, consistently read.

        Args:
            only: the attributes wanted; all when empty.
            where: what must hold of an item. DynamoDB reads the others as well, and does not send them.
        """
        asked: dict[str, Any] = {
            "TableName": self.name,
            "ConsistentRead": True,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": partition}},
        }
        if only:
            asked["ProjectionExpression"] = ", ".join(f"#{name}" for name in only)
            asked["ExpressionAttributeNames"] = {f"#{name}": name for name in only}
        if where:
            asked["FilterExpression"] = where
        try:
            yield from members(self.calls, "Query", partial(self._page, asked))
        except RefusedError as error:
            raise WaitError(f"Query on table {self.name}: {error}") from None

    def get_many(self, keys: Sequence[Item]) -> Iterator[Item]:
        """The items of those keys that exist, consistently read.

        Raises:
            RetryError: DynamoDB left keys unread, again and again.
        """
        for start in range(0, len(keys), KEYS_OF_A_BATCH):
            left: Sequence[Item] = keys[start : start + KEYS_OF_A_BATCH]
            for _ in range(MAX_BATCH_ROUNDS):
                asked: dict[str, Any] = {self.name: {"Keys": list(left), "ConsistentRead": True}}
                page = self._call("BatchGetItem", partial(self._batch, left, asked), is_read=True)
                yield from page.items
                left = page.unprocessed
                if not left:
                    break
            else:
                raise RetryError(f"BatchGetItem: {len(left)} items of {self.name} were not read")

    def update(
        self,
        key: Item,
        *,
        read: "Callable[[Item], ResultT] | None" = None,
        **request: Any,  # noqa: ANN401  (botocore's own parameters)
    ) -> "ResultT | Refused | None":
        """Change one item.

        Args:
            read: makes the result of the answer's attributes; what it raises means that the answer cannot be read.

        Returns:
            what `read` made; or what stands there when the condition does not hold.

        Raises:
            TransientError | WaitError: see `AwsCalls.call`.
        """

        def send() -> "ResultT | None":
            answer = self.client.update_item(
                TableName=self.name,
                Key=key,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                ReturnConsumedCapacity="TOTAL",
                **request,
            )
            written(answer)
            return None if read is None else read(items_of([answer["Attributes"]])[0])

        try:
            return self.calls.call("UpdateItem", send)
        except RefusedInDoubtError as error:
            if error.refusal.code != CONDITION_FAILED:
                raise
            return Refused(item=_standing(error.refusal), in_doubt=True)
        except RefusedError as error:
            if error.code == CONDITION_FAILED:
                return Refused(item=_standing(error))
            raise WaitError(f"UpdateItem on table {self.name}: {error}") from None

    def put(self, item: Item) -> None:
        """Write one item, whatever stood there."""
        put = partial(self.client.put_item, TableName=self.name, Item=item, ReturnConsumedCapacity="TOTAL")
        self._call("PutItem", lambda: written(put()))

    def put_unless(self, item: Item, *, condition: str, values: Item | None = None) -> bool:
        """Write one item on a condition; False when it does not hold."""
        more: Any = {"ExpressionAttributeValues": values} if values else {}  # DynamoDB refuses an empty map
        put = partial(
            self.client.put_item,
            TableName=self.name,
            Item=item,
            ConditionExpression=condition,
            ReturnConsumedCapacity="TOTAL",
            **more,
        )
        try:
            self.calls.call("PutItem", lambda: written(put()))
        except RefusedError as error:
            if error.code == CONDITION_FAILED:
                return False
            raise WaitError(f"PutItem on table {self.name}: {error}") from None
        return True

    def delete(self, key: Item) -> None:
        """Remove one item, if it is there."""
        delete = partial(self.client.delete_item, TableName=self.name, Key=key, ReturnConsumedCapacity="TOTAL")
        self._call("DeleteItem", lambda: written(delete()))

    def _page(self, asked: Mapping[str, Any], token: str | None) -> tuple[Sequence[Item], str]:
        more: dict[str, Any] = {"ExclusiveStartKey": json.loads(token)} if token else {}
        page: Mapping[str, Any] = self.client.query(**asked, **more)
        next_key = page.get("LastEvaluatedKey") or {}
        found = items_of(page["Items"])
        shown = asked.get("ExpressionAttributeNames", {"#pk": "pk", "#sk": "sk"}).values()
        for name in {"pk", "sk"}.intersection(shown):
            for item in found:
                required_text(item[name]["S"])
        return found, json.dumps(items_of([next_key])[0]) if next_key else ""

    def _batch(self, keys: Sequence[Item], asked: Mapping[str, Any]) -> "_Page":
        page: Mapping[str, Any] = self.client.batch_get_item(RequestItems=asked)
        unprocessed = required(page.get("UnprocessedKeys") or {}, dict).get(self.name, {"Keys": []})
        found, left = items_of(required(page["Responses"], dict).get(self.name, [])), items_of(unprocessed["Keys"])
        if any({name: item[name] for name in keys[0]} not in keys for item in (*found, *left)):
            raise ValueError("an item that was not asked for")
        return _Page(items=found, unprocessed=left)

    def _call(self, name: str, send: "Callable[[], ResultT]", *, is_read: bool = False) -> ResultT:
        try:
            return self.calls.call(name, send, is_read=is_read)
        except RefusedError as error:
            raise WaitError(f"{name} on table {self.name}: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """One answer to a read, every member checked."""

    items: Sequence[Item]
    unprocessed: Sequence[Item] = ()


def written(answer: Mapping[str, Any]) -> None:
    """Accept the answer to a write.

    Every write asks for the consumed capacity, because a real answer then has it. Botocore makes an empty answer of any
    page with status 200, and an empty answer would read as a success.

    Raises:
        KeyError, TypeError: the answer does not say that DynamoDB wrote.
    """
    if not isinstance(answer["ConsumedCapacity"], dict | list):
        raise TypeError("ConsumedCapacity has another type")


def items_of(stored: object) -> list[Item]:
    """Items as DynamoDB gives them: names with values of one type each.

    Most values are texts. Those are looked at here, because a call for each of thousands takes most of the time.

    Raises:
        TypeError, ValueError: they are something else.
    """
    found = required(stored, list)
    for item in found:
        for name, value in required(item, dict).items():
            if type(name) is not str or not name:
                required_text(name)
            if type(value) is not dict or len(value) != 1 or type(value.get("S")) is not str:
                _checked(value)
    return found


def _checked(value: object) -> None:
    ((kind, content),) = required(value, dict).items()
    match kind:
        case "S" | "BOOL":
            required(content, str if kind == "S" else bool)
        case "N":
            if not Decimal(required_text(content)).is_finite():
                raise ValueError("a number that is none")
        case "SS":
            for text in required(content, list):
                required(text, str)
        case "L":
            for part in required(content, list):
                _checked(part)
        case "M":
            for part in required(content, dict).values():
                _checked(part)
        case _:
            pass  # types that no version of this code reads as more than there or not there


def _standing(error: RefusedError) -> Item | None:
    """The item that a refused write met; None where there is none, or where it cannot be read."""
    try:
        return items_of([error.response["Item"]])[0]
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
