"""The fake STS takes a token only when everything about it is right, and a role only with its trust policy."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.simulator.buildkite import Buildkite
from tests.simulator.buildkite.oidc import AWS_TAGS, ISSUER
from tests.simulator.iam import Policies
from tests.simulator.iam.refusal import Refusal
from tests.simulator.iam.sts import FakeSts, Role
from tests.simulator.iam.web_identity import Provider

ACCOUNT, ROLE = "123456789012", "arn:aws:iam::123456789012:role/jobs"
NOW = datetime(2026, 1, 5, tzinfo=UTC)
TRUST = {
    "Statement": {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/agent.buildkite.com"},
        "Action": ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"],
        "Condition": {
            "StringEquals": {
                "agent.buildkite.com:aud": "sts.amazonaws.com",
                "agent.buildkite.com:sub": "org",
                "aws:RequestTag/organization_id": "org",
            },
            "Null": {"aws:RequestTag/pipeline_id": "false"},
        },
    }
}
TAGS = {"organization_id": ["org"], "pipeline_id": ["mine"]}


class Exchange:
    """Tokens of a Buildkite, whatever they say, and an STS that trusts it."""

    def __init__(self) -> None:
        self.now = NOW
        self.buildkite = Buildkite(now=lambda: self.now)
        self.sts = FakeSts(account_id=ACCOUNT, now=lambda: self.now)
        self.sts.providers.append(Provider(url=ISSUER, keys=self.buildkite.jwks))
        self.sts.add(Role(arn=ROLE, trust=TRUST, policies=()))

    def token(self, tags: Mapping[str, Any] | None = TAGS, **changes: object) -> str:
        at = int(self.now.timestamp())
        claims = {"iss": ISSUER, "sub": "org", "aud": "sts.amazonaws.com", "iat": at, "nbf": at, "exp": at + 300}
        tagged = {} if tags is None else {AWS_TAGS: {"principal_tags": tags}}
        return self.buildkite.sign({**claims, **tagged, **changes})

    def ask(self, token: str, **changes: str) -> str:
        """The code of the answer, or the key id of the session."""
        body = {
            "Action": "AssumeRoleWithWebIdentity",
            "RoleArn": ROLE,
            "RoleSessionName": "job",
            "WebIdentityToken": token,
            **changes,
        }
        _, answer = self.sts.answer(urlencode(body).encode(), lambda: ("arn:nobody", Policies([])))
        (said,) = re.findall(r"<(?:Code|AccessKeyId)>([^<]+)<", answer)
        return str(said)


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


def test_a_good_token_makes_a_session_with_its_tags(exchange: Exchange) -> None:
    session = exchange.sts.sessions[exchange.ask(exchange.token())]
    assert session.tags == {"organization_id": "org", "pipeline_id": "mine"}
    assert session.expires_at == NOW + timedelta(hours=1)
    exchange.now += timedelta(hours=1)
    with pytest.raises(Refusal, match="ExpiredTokenException"):
        exchange.sts.session(session.access_key_id)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"iss": "https://evil.example"}, "InvalidIdentityToken"),
        ({"aud": "sts.example"}, "InvalidIdentityToken"),
        ({"exp": int(NOW.timestamp())}, "ExpiredTokenException"),
        ({"exp": None}, "InvalidIdentityToken"),
        ({"nbf": int(NOW.timestamp()) + 600}, "InvalidIdentityToken"),
        ({"sub": "another"}, "AccessDenied"),
        ({"tags": {**TAGS, "organization_id": ["another"]}}, "AccessDenied"),
        ({"tags": {"organization_id": ["org"]}}, "AccessDenied"),
        ({"tags": None}, "AccessDenied"),
        ({"tags": {**TAGS, "build_branch": ["main!"]}}, "InvalidIdentityToken"),
        ({"tags": {**TAGS, "build_branch": ["b" * 257]}}, "InvalidIdentityToken"),
        ({"tags": {**TAGS, "build_branch": ["\N{ROCKET}"]}}, "InvalidIdentityToken"),
        ({"tags": {**TAGS, "pipeline_id": ["mine", "other"]}}, "InvalidIdentityToken"),
        ({"tags": {**TAGS, "Pipeline_Id": ["other"]}}, "InvalidIdentityToken"),
        ({"tags": {**TAGS, **{f"tag{n}": ["x"] for n in range(49)}}}, "InvalidIdentityToken"),
    ],
)
def test_a_token_that_is_not_right_is_refused(exchange: Exchange, changes: dict[str, Any], code: str) -> None:
    assert exchange.ask(exchange.token(**changes)) == code
    assert exchange.sts.sessions == {}


def test_a_token_of_another_key_or_of_no_key_is_refused(exchange: Exchange) -> None:
    forged = Exchange().token()
    header, claims, signature = exchange.token().split(".")
    none = "eyJhbGciOiJub25lIiwia2lkIjoiMSJ9"
    for token in (forged, f"{header}.{claims}.", f"{none}.{claims}.{signature}", "nonsense"):
        assert exchange.ask(token) == "InvalidIdentityToken"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"RoleArn": ROLE + "s"}, "AccessDenied"),
        ({"DurationSeconds": "3601"}, "ValidationError"),
        ({"DurationSeconds": "899"}, "ValidationError"),
        ({"Action": "AssumeRole"}, "AccessDenied"),
    ],
)
def test_a_request_that_is_not_right_is_refused(exchange: Exchange, changes: dict[str, str], code: str) -> None:
    assert exchange.ask(exchange.token(), **changes) == code


def test_tags_need_a_trust_policy_that_allows_tagging(exchange: Exchange) -> None:
    statement = {**TRUST["Statement"], "Action": "sts:AssumeRoleWithWebIdentity"}
    exchange.sts.add(Role(arn=ROLE, trust={"Statement": [statement]}, policies=()))
    assert exchange.ask(exchange.token()) == "AccessDenied"


def test_iam_makes_no_role_that_any_organisation_of_buildkite_could_have(exchange: Exchange) -> None:
    """AWS demands that the subject is evaluated, because all organisations share the issuer."""
    conditions = {"StringEquals": {"agent.buildkite.com:aud": "sts.amazonaws.com"}}
    open_to_all = {"Statement": [{**TRUST["Statement"], "Condition": conditions}]}
    with pytest.raises(Refusal, match="sub must be evaluated"):
        exchange.sts.add(Role(arn=ROLE, trust=open_to_all, policies=()))


def test_a_role_for_tokens_is_not_for_whoever_has_keys(exchange: Exchange) -> None:
    everything = Policies([{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}])
    body = urlencode({"Action": "AssumeRole", "RoleArn": ROLE, "RoleSessionName": "x"}).encode()
    status, _ = exchange.sts.answer(body, lambda: (f"arn:aws:iam::{ACCOUNT}:user/admin", everything))
    assert status == 403
