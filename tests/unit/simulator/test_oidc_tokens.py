"""The simulated Buildkite signs tokens as documented of the real one: about a job, for that job only."""

import base64
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.simulator.buildkite import Step
from tests.simulator.buildkite.oidc import AWS_TAGS, ISSUER
from tests.simulator.buildkite.rules import Rule
from tests.unit.simulator.test_buildkite import Wire

AUDIENCE = "sts.amazonaws.com"


@pytest.fixture
def wire() -> Wire:
    return Wire().registered()


def running(wire: Wire, pipeline: str = "app", branch: str | None = "main", **step: Any) -> tuple[str, str]:  # noqa: ANN401  (a step's)
    """The id and the token of a job that an agent runs."""
    (job_id,) = wire.buildkite.create_build(pipeline, steps=[Step(**step)], branch=branch).job_ids
    wire.reserve([job_id])
    session = wire.agent(wire.job_token(job_id)).json()["access_token"]
    wire.ask("POST", "/connect", session)
    token = str(wire.ask("PUT", f"/jobs/{job_id}/acquire", session).json()["token"])
    wire.ask("PUT", f"/jobs/{job_id}/start", token, json={"started_at": wire.clock.now().isoformat()})
    return job_id, token


def ask(wire: Wire, job_id: str, token: str, **body: Any) -> httpx.Response:  # noqa: ANN401  (JSON)
    return wire.ask("POST", f"/jobs/{job_id}/oidc/tokens", token, json={"audience": AUDIENCE, **body})


def claims(answer: httpx.Response) -> dict[str, Any]:
    answer.raise_for_status()
    return claims_in(str(answer.json()["token"]))


def claims_in(token: str) -> dict[str, Any]:
    segment = token.split(".")[1]
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    return read


def test_a_token_says_what_buildkite_knows_of_the_job(wire: Wire) -> None:
    job_id, token = running(wire, key="deploy")
    said = claims(wire.ask("POST", f"/jobs/{job_id}/oidc/tokens", token, json={}))
    assert said["iss"] == ISSUER
    assert said["aud"] == "https://buildkite.com/simulated"
    assert said["sub"] == "organization:simulated:pipeline:app:ref:refs/heads/main:commit:HEAD:step:deploy"
    assert said["exp"] - said["iat"] == 300
    assert said["nbf"] == said["iat"] == int(wire.clock.now().timestamp())
    assert (said["job_id"], said["build_number"], said["runner_environment"]) == (job_id, 1, "self-hosted")
    assert not {"organization_id", "pipeline_id", AWS_TAGS} & set(said)


def test_a_subject_that_never_changes_takes_the_place_of_the_usual_one(wire: Wire) -> None:
    job_id, token = running(wire)
    said = claims(ask(wire, job_id, token, subject_claim="organization_id"))
    assert said["sub"] == said["organization_id"] == wire.buildkite.organization_id
    assert ask(wire, job_id, token, subject_claim="pipeline_slug").status_code == 422


def test_session_tags_are_text_and_null_is_empty(wire: Wire) -> None:
    job_id, token = running(wire)
    tags = ["organization_id,pipeline_id", "build_number", "step_key", "agent_tag:queue", "agent_tag:none"]
    said = claims(ask(wire, job_id, token, aws_session_tags=tags, claims=["pipeline_id"]))
    assert said[AWS_TAGS] == {
        "principal_tags": {
            "organization_id": [wire.buildkite.organization_id],
            "pipeline_id": [said["pipeline_id"]],
            "build_number": ["1"],
            "step_key": [""],
            "agent_tag:queue": ["default"],
            "agent_tag:none": [""],
        }
    }


@pytest.mark.parametrize(
    "body", [{"lifetime": 7_201}, {"lifetime": -1}, {"claims": ["everything"]}, {"aws_session_tags": ["admin"]}]
)
def test_what_is_not_documented_is_refused(wire: Wire, body: dict[str, Any]) -> None:
    job_id, token = running(wire)
    assert ask(wire, job_id, token, **body).status_code == 422
    assert wire.rules()[-1] in {Rule.OIDC_LIFETIME, Rule.OIDC_CLAIM}


def test_the_longest_lifetime_is_two_hours(wire: Wire) -> None:
    job_id, token = running(wire)
    said = claims(ask(wire, job_id, token, lifetime=7_200))
    assert said["exp"] - said["iat"] == 7_200


def test_a_job_gets_its_own_tokens_only_and_none_once_it_is_over(wire: Wire) -> None:
    (mine, token), (other, others) = running(wire), running(wire, "other")
    assert ask(wire, other, token).status_code == 401
    assert ask(wire, mine, others).status_code == 401
    assert ask(wire, mine, "bkct_simulated").status_code == 401
    finish = {"exit_status": "0", "finished_at": wire.clock.now().isoformat()}
    assert wire.ask("PUT", f"/jobs/{mine}/finish", token, json=finish).status_code == 200
    assert ask(wire, mine, token).status_code >= 400


def test_a_renamed_pipeline_keeps_its_id_and_its_old_slug_is_another_pipeline(wire: Wire) -> None:
    def identity(pipeline: str) -> tuple[str, str]:
        said = claims(ask(wire, *running(wire, pipeline), claims=["pipeline_id"]))
        return said["pipeline_slug"], said["pipeline_id"]

    _, first = identity("app")
    wire.buildkite.rename_pipeline("app", "application")
    assert identity("application") == ("application", first)
    assert identity("app")[1] != first


def test_a_build_without_a_branch_has_none(wire: Wire) -> None:
    job_id, token = running(wire, branch=None)
    said = claims(ask(wire, job_id, token, aws_session_tags=["build_branch"]))
    assert said["build_branch"] is None
    assert said[AWS_TAGS]["principal_tags"] == {"build_branch": [""]}


def test_keys_and_discovery_are_for_everybody(wire: Wire) -> None:
    with httpx.Client(transport=wire.http._transport, base_url="http://buildkite.invalid") as anybody:
        found = anybody.get("/.well-known/openid-configuration").json()
        keys = anybody.get(found["jwks_uri"].removeprefix(ISSUER)).json()["keys"]
    assert found["issuer"] == ISSUER
    assert [(key["kty"], key["alg"]) for key in keys] == [("RSA", "RS256")]


def test_tokens_are_credentials_that_nothing_may_leak(wire: Wire) -> None:
    token = ask(wire, *running(wire), lifetime=int(timedelta(hours=1).total_seconds())).json()["token"]
    assert token in wire.buildkite.credentials()
