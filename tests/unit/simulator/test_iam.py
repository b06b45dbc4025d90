"""The evaluator of policies: as much of IAM as our own policies use, and nothing guessed."""

from typing import Any

import pytest

from tests.simulator.iam import Asked, Policies, asked_of_dynamodb


def policies(*statements: dict[str, Any]) -> Policies:
    return Policies([{"Version": "2012-10-17", "Statement": list(statements)}])


def allow(**more: Any) -> dict[str, Any]:  # noqa: ANN401  (JSON)
    return {"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::bucket/*", **more}


def get(key: str = "key", **context: list[str]) -> Asked:
    return Asked(action="s3:GetObject", resource=f"arn:aws:s3:::bucket/{key}", context=context)


def test_nothing_is_allowed_that_no_statement_allows() -> None:
    assert policies(allow()).allow(get())
    assert not policies().allow(get())
    assert not policies(allow(Action="s3:PutObject")).allow(get())
    assert not policies(allow(Resource="arn:aws:s3:::other/*")).allow(get())


def test_a_denial_wins() -> None:
    assert not policies(allow(), allow(Effect="Deny", Resource="*")).allow(get())


@pytest.mark.parametrize(
    ("condition", "values", "holds"),
    [
        ({"StringEquals": {"k": "a"}}, ["a"], True),
        ({"StringEquals": {"k": "a"}}, ["A"], False),
        ({"StringEquals": {"k": "a"}}, None, False),
        ({"StringEqualsIfExists": {"k": "a"}}, None, True),
        ({"StringEqualsIfExists": {"k": "a"}}, ["b"], False),
        ({"StringNotEquals": {"k": "a"}}, None, True),
        ({"StringNotEquals": {"k": ["a", "b"]}}, ["b"], False),
        ({"StringLike": {"k": "a?c*"}}, ["abcde"], True),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, ["a", "b"], True),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, ["a", "c"], False),
        ({"ForAllValues:StringEquals": {"k": ["a"]}}, None, True),
        ({"ForAnyValue:StringEquals": {"k": ["a"]}}, ["c", "a"], True),
        ({"Null": {"k": "false"}}, ["a"], True),
        ({"Null": {"k": "false"}}, None, False),
        ({"Bool": {"k": "true"}}, ["true"], True),
        ({"StringEquals": {"k": "${ec2:SourceInstanceARN}"}}, ["me"], True),
        ({"StringEquals": {"k": "${ec2:SourceInstanceARN}"}}, ["another"], False),
    ],
)
def test_conditions(condition: dict[str, Any], values: list[str] | None, holds: bool) -> None:  # noqa: FBT001  (expected)
    context = {"ec2:SourceInstanceARN": ["me"], **({} if values is None else {"k": values})}
    asked = Asked(action="s3:GetObject", resource="arn:aws:s3:::bucket/key", context=context)
    assert policies(allow(Condition=condition)).allow(asked) is holds


def test_a_variable_without_a_value_matches_nothing() -> None:
    condition = {"StringEquals": {"k": "${ec2:SourceInstanceARN}"}}
    assert not policies(allow(Condition=condition)).allow(get(k=[""]))


@pytest.mark.parametrize(
    "statement",
    [
        allow(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
        allow(Condition={"StringEquals": {"k": "${*}"}}),
        {"Effect": "Allow", "NotAction": "s3:*", "Action": "s3:*", "Resource": "*"},
    ],
)
def test_what_is_not_known_is_an_error_and_never_a_permission(statement: dict[str, Any]) -> None:
    with pytest.raises(NotImplementedError):
        policies(statement).allow(get(k=["x"]))


def test_a_dynamodb_request_names_its_attributes_wherever_they_stand() -> None:
    asked = asked_of_dynamodb(
        "UpdateItem",
        {
            "TableName": "t",
            "Key": {"id": {"S": "1"}},
            "UpdateExpression": "REMOVE credential SET stage = :stage, #d = if_not_exists(tries, :zero)",
            "ConditionExpression": "attribute_exists(credential) AND NOT contains(owner, :me)",
            "ExpressionAttributeNames": {"#d": "detail"},
            "ReturnValues": "UPDATED_OLD",
        },
        table_arn_prefix="arn:",
        key="id",
    )
    assert asked.context["dynamodb:Attributes"] == ["credential", "detail", "id", "owner", "stage", "tries"]
    assert asked.context["dynamodb:LeadingKeys"] == ["1"]
    assert asked.context["dynamodb:ReturnValues"] == ["UPDATED_OLD"]
