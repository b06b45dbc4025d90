"""DynamoDB's answers with many items: the same as botocore reads them, and botocore does not walk them."""

import json
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError

from agent_stack.adapters.dynamodb.lean_answers import read_lean
from tests.simulator.cloud.front import _RawBody

ITEM: dict[str, Any] = {
    "pk": {"S": "run#1"},
    "sk": {"S": "01907d1e"},
    "version": {"N": "3"},
    "reserved_until": {"N": "1767225600.5"},
    "notices": {"SS": ["a", "b"]},
    "timeline": {"M": {"bound": {"N": "1"}, "tried": {"L": [{"S": "x"}, {"NULL": True}, {"BOOL": False}]}}},
}
ANSWERS: dict[str, dict[str, Any]] = {
    "query": {"Items": [ITEM, ITEM], "Count": 2, "LastEvaluatedKey": {"pk": ITEM["pk"], "sk": ITEM["sk"]}},
    "batch_get_item": {"Responses": {"t": [ITEM]}, "UnprocessedKeys": {"t": {"Keys": [{"pk": {"S": "run#2"}}]}}},
}
ASKED: dict[str, dict[str, Any]] = {"query": {"TableName": "t"}, "batch_get_item": {"RequestItems": {}}}
MEMBERS = {"Items", "LastEvaluatedKey", "Responses", "UnprocessedKeys"}


def answered(name: str, body: bytes, *, lean: bool, status: int = 200) -> dict[str, Any]:
    """What a client makes of that body."""
    client: Any = boto3.client(
        "dynamodb", region_name="eu-central-1", aws_access_key_id="AKID", aws_secret_access_key="secret"
    )
    client.meta.events.register_first(
        "before-send.dynamodb",
        lambda request, **_: AWSResponse(_url(request), status, HTTPHeaders(), _RawBody(body)),
    )
    if lean:
        client = read_lean(client)
    given: dict[str, Any] = getattr(client, name)(**ASKED[name])
    return {member: value for member, value in given.items() if member in MEMBERS}


def _url(request: AWSPreparedRequest) -> str:
    return request.url


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_the_same_as_botocore_reads_it(name: str) -> None:
    body = json.dumps(ANSWERS[name]).encode()
    assert answered(name, body, lean=True) == answered(name, body, lean=False)


@pytest.mark.parametrize("body", [b"", b"not json", b'["a list"]', b'{"Items": null}'])
def test_what_is_no_answer_has_no_items(body: bytes) -> None:
    if body == b'["a list"]':
        with pytest.raises(AttributeError):
            answered("query", body, lean=True)  # as without: an answer that cannot be read
        return
    assert answered("query", body, lean=True) == {}


def test_an_error_is_left_to_botocore() -> None:
    body = b'{"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException", "message": "slow"}'
    with pytest.raises(ClientError, match="ThrottlingException"):
        answered("query", body, lean=True, status=400)


def test_botocore_does_not_walk_the_items(monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[object] = []

    def walk(_self: object, _shape: object, value: object) -> dict[str, object]:
        walked.append(value)
        return {}

    monkeypatch.setattr("botocore.parsers.BaseJSONParser._handle_map", walk)
    answered("query", json.dumps(ANSWERS["query"]).encode(), lean=True)
    assert not walked
    answered("query", json.dumps(ANSWERS["query"]).encode(), lean=False)
    assert walked
