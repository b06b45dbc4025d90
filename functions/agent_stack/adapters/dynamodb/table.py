"""Single questions to one DynamoDB table: asked again while that is safe, every refusal translated."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from agent_stack.adapters.aws import AwsCalls, RefusedError
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
    """A write that its condition forbade, and the item as it stands; None where there is no item."""

    item: Item | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table."""

    client: "DynamoDBClient"
    calls: AwsCalls
    name: str

    def query(self, partition: str, *, only: Sequence[str] = ()) -> Iterator[Item]:
        """Every item of a partition, consistently read.

        Args:
            only: the attributes wanted; all when empty.
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
        while True:
            page = self._call("Query", partial(self.client.query, **asked))
            yield from page["Items"]
            if not page.get("LastEvaluatedKey"):
                return
            asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def get_many(self, keys: Sequence[Item]) -> Iterator[Item]:
        """The items of those keys that exist, consistently read.

        Raises:
            RetryError: DynamoDB left keys unread, again and again.
        """
        for start in range(0, len(keys), KEYS_OF_A_BATCH):
            left: Sequence[Item] = keys[start : start + KEYS_OF_A_BATCH]
            for _ in range(MAX_BATCH_ROUNDS):
                asked: dict[str, Any] = {self.name: {"Keys": list(left), "ConsistentRead": True}}
                answer = self._call("BatchGetItem", partial(self.client.batch_get_item, RequestItems=asked))
                yield from answer["Responses"].get(self.name, [])
                unprocessed: Mapping[str, Any] = answer.get("UnprocessedKeys", {})
                left = unprocessed.get(self.name, {}).get("Keys", [])
                if not left:
                    break
            else:
                raise RetryError(f"BatchGetItem: {len(left)} items of {self.name} were not read")

    def update(self, key: Item, **request: Any) -> Item | Refused:  # noqa: ANN401  (botocore's own parameters)
        """Change one item; the answer's attributes, or what stands there when the condition does not hold."""

        def send() -> Item | Refused:
            try:
                answer = self.client.update_item(
                    TableName=self.name, Key=key, ReturnValuesOnConditionCheckFailure="ALL_OLD", **request
                )
            except ClientError as error:
                if error.response["Error"]["Code"] == CONDITION_FAILED:
                    response: Mapping[str, Any] = error.response  # the stub does not know of the item in it
                    return Refused(item=response.get("Item"))
                raise
            return answer.get("Attributes", {})

        return self._call("UpdateItem", send)

    def put(self, item: Item) -> None:
        """Write one item, whatever stood there."""
        self._call("PutItem", partial(self.client.put_item, TableName=self.name, Item=item))

    def put_unless(self, item: Item, *, condition: str, values: Item) -> bool:
        """Write one item on a condition; False when it does not hold."""

        def send() -> bool:
            try:
                self.client.put_item(
                    TableName=self.name,
                    Item=item,
                    ConditionExpression=condition,
                    ExpressionAttributeValues=values,
                )
            except ClientError as error:
                if error.response["Error"]["Code"] == CONDITION_FAILED:
                    return False
                raise
            return True

        return self._call("PutItem", send)

    def delete(self, key: Item) -> None:
        """Remove one item, if it is there."""
        self._call("DeleteItem", partial(self.client.delete_item, TableName=self.name, Key=key))

    def _call(self, name: str, send: "Callable[[], ResultT]") -> ResultT:
        try:
            return self.calls.call(name, send)
        except RefusedError as error:
            raise WaitError(f"{name} on table {self.name}: {error}") from None
