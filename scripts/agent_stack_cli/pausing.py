"""Pause and resume, as they are written: attributes of the dispatcher's lease, which the functions never write."""

from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from agent_stack.adapters.dynamodb import items
from agent_stack.adapters.dynamodb.fields import moment
from agent_stack.adapters.dynamodb.lease import PAUSED, RESUMED, read_pauses
from agent_stack.domain.pauses import OperatorPause
from agent_stack_cli.errors import code_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LEASE_KEY = items.key("lease", "dispatcher")


def write_pause(
    client: "DynamoDBClient", table: str, *, queue: str, at: datetime, by: str = "", reason: str = ""
) -> tuple[OperatorPause, bool]:
    """Pauses that queue, or `*` for all. An earlier pause keeps its time and its reason.

    Returns:
        the pause that holds now, and whether this call began it. Both are of one answer, so that a `resume` of
        somebody else in between changes neither.
    """
    answer = client.update_item(
        TableName=table,
        Key=LEASE_KEY,
        UpdateExpression="SET #paused = if_not_exists(#paused, :pause)",
        ExpressionAttributeNames={"#paused": PAUSED + queue},
        ExpressionAttributeValues=items.packed({":pause": {"at": items.seconds(at), "by": by, "reason": reason}}),
        ReturnValues="ALL_NEW",
    )
    pause = read_pauses(items.unpacked(answer["Attributes"])).paused[queue]
    return pause, pause == OperatorPause(since=moment(items.seconds(at)), by=by, reason=reason)


def write_resume(client: "DynamoDBClient", table: str, *, queue: str, at: datetime) -> bool:
    """Ends that pause, and lets launch deadlines of its jobs begin anew.

    Returns:
        whether it was paused.
    """
    try:
        client.update_item(
            TableName=table,
            Key=LEASE_KEY,
            UpdateExpression="REMOVE #paused SET #resumed = :now",
            ConditionExpression="attribute_exists(#paused)",
            ExpressionAttributeNames={"#paused": PAUSED + queue, "#resumed": RESUMED + queue},
            ExpressionAttributeValues=items.packed({":now": items.seconds(at)}),
        )
    except ClientError as error:
        if code_of(error) == "ConditionalCheckFailedException":
            return False
        raise
    return True
