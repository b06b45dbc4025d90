"""What a DynamoDB request asks of IAM: the leading keys and the attributes that it names.

Source: the DynamoDB developer guide's page on conditions for fine-grained access control.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.simulator.iam.policy import Asked

_WORDS = re.compile(r"(?<![:#\w])(#?[A-Za-z_]\w*)")
_KEYWORDS = frozenset(
    {
        *("set", "remove", "add", "delete", "and", "or", "not", "between", "in"),
        *("attribute_exists", "attribute_not_exists", "attribute_type", "begins_with", "contains", "size"),
        *("if_not_exists", "list_append"),
    }
)
_READS = frozenset({"BatchGetItem", "GetItem", "Query", "Scan"})
"""Without a projection they give every attribute, whatever attributes a request names."""

_EXPRESSIONS = (
    "ProjectionExpression",
    "UpdateExpression",
    "ConditionExpression",
    "FilterExpression",
    "KeyConditionExpression",
)


def asked_of_dynamodb(action: str, body: Mapping[str, Any], *, table_arn_prefix: str, key: str) -> Asked:
    """The request as IAM sees it.

    Args:
        action: such as `GetItem`.
        key: the name of the table's partition key.
    """
    leading = [next(iter(keys[key].values())) for keys in _keys(body) if key in keys]
    attributes = sorted(set(_attributes(body)))
    context: dict[str, list[str]] = {}
    if leading:
        context["dynamodb:LeadingKeys"] = leading
    if attributes:
        context["dynamodb:Attributes"] = attributes
    if "ReturnValues" in body:
        context["dynamodb:ReturnValues"] = [body["ReturnValues"]]
    if action in _READS:
        chosen = any(name in body for name in ("ProjectionExpression", "AttributesToGet"))
        context["dynamodb:Select"] = [body.get("Select", "SPECIFIC_ATTRIBUTES" if chosen else "ALL_ATTRIBUTES")]
    return Asked(
        action=f"dynamodb:{action}", resource=f"{table_arn_prefix}{body.get('TableName', '')}", context=context
    )


def _keys(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in ("Key", "Item"):
        if name in body:
            yield body[name]


def _attributes(body: Mapping[str, Any]) -> Iterator[str]:
    for keys in _keys(body):
        yield from keys
    yield from body.get("AttributesToGet", ())
    yield from body.get("AttributeUpdates", ())
    names = body.get("ExpressionAttributeNames", {})
    for expression in _EXPRESSIONS:
        for word in _WORDS.findall(body.get(expression, "")):
            if word.lower() not in _KEYWORDS:
                yield names.get(word, word)
