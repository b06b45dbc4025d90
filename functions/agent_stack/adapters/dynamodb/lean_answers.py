"""DynamoDB's answers with many items, read as the JSON that they are.

Botocore walks every attribute of every item by its model of the service, and changes nothing but binary values, which
no item of ours has. So the answers to Query and BatchGetItem skip that walk, which is most of the CPU of reading runs.
They have the same shape as botocore's; `table` checks every member of it.
"""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

OK = 200
MEMBERS = ("Items", "LastEvaluatedKey", "Responses", "UnprocessedKeys")
_READ_ALREADY = b"{}"


def read_lean(client: "DynamoDBClient") -> "DynamoDBClient":
    """The client, whose answers with many items are not walked by botocore."""
    for operation in ("Query", "BatchGetItem"):
        event = f"before-parse.dynamodb.{operation}"
        client.meta.events.register(event, _read, unique_id=f"agent-stack-lean-{operation}")
    return client


def _read(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Botocore's hook before it parses; errors, and what is no such answer, are left to it."""
    if response_dict["status_code"] != OK:
        return
    try:
        answer = json.loads(response_dict["body"])
    except ValueError:
        return
    if not isinstance(answer, dict):
        return
    customized_response_dict.update({name: answer[name] for name in MEMBERS if answer.get(name) is not None})
    response_dict["body"] = _READ_ALREADY
