"""The simulated Buildkite keeps to what is documented of the real one."""

import gzip
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.simulator.buildkite import AGENT_TOKEN, Buildkite, Dialect, JobState, Limits, Settings, Step, transport
from tests.simulator.buildkite.rules import Rule
from tests.simulator.clock import VirtualClock

STACK = {"key": "stack", "type": "custom", "queue_key": "default", "metadata": {}}


class Wire:
    """Raw requests to a simulated Buildkite."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.clock = VirtualClock()
        self.buildkite = Buildkite(now=self.clock.now, settings=settings)
        self.http = httpx.Client(transport=transport(self.buildkite), base_url="http://buildkite.invalid/v3")

    def ask(self, method: str, path: str, token: str = AGENT_TOKEN, **request: Any) -> httpx.Response:  # noqa: ANN401  (httpx's own)
        return self.http.request(method, path, headers={"Authorization": f"Token {token}"}, **request)

    def registered(self) -> "Wire":
        assert self.ask("POST", "/stacks/register", json=STACK).status_code == 201
        return self

    def push(self, *steps: Step) -> list[str]:
        return list(self.buildkite.create_build(steps=steps or (Step(),)).job_ids)

    def reserve(self, job_ids: list[str], seconds: int = 900) -> dict[str, list[str]]:
        body = {"job_uuids": job_ids, "reservation_expiry_seconds": seconds}
        answer: dict[str, list[str]] = self.ask("PUT", "/stacks/stack/scheduled-jobs/batch-reserve", json=body).json()
        return answer

    def job_token(self, job_id: str, seconds: int = 900) -> str:
        body = {"job_uuids": [job_id], "token_lifetime_seconds": seconds}
        issued = self.ask("POST", "/stacks/stack/job-acquisition-tokens", json=body).json()["job_acquisition_tokens"]
        return str(issued[0]["job_acquisition_token"])

    def agent(self, token: str, queue: str = "default") -> httpx.Response:
        return self.ask("POST", "/register", token, json={"name": "agent", "meta_data": [f"queue={queue}"]})

    def rules(self) -> list[Rule]:
        return [violation.rule for violation in self.buildkite.violations()]


@pytest.fixture
def wire() -> Wire:
    return Wire().registered()


def test_without_a_valid_token_there_is_nothing(wire: Wire) -> None:
    assert wire.ask("POST", "/stacks/register", "bkct_wrong", json=STACK).status_code == 401
    assert wire.http.post("/stacks/register", json=STACK).status_code == 401


def test_what_is_not_registered_is_404(wire: Wire) -> None:
    assert "Stack" in wire.ask("GET", "/stacks/other/scheduled-jobs?queue_key=default").json()["message"]
    assert "Queue" in wire.ask("GET", "/stacks/stack/scheduled-jobs?queue_key=other").json()["message"]
    assert wire.ask("GET", "/stacks/stack/jobs/none").status_code == 404


def test_a_preview_service_knows_no_current_paths() -> None:
    wire = Wire(Settings(dialects=frozenset({Dialect.PREVIEW}))).registered()
    assert wire.ask("GET", "/stacks/stack/scheduled-jobs?queue_key=default").status_code == 404
    assert wire.ask("GET", "/stacks/stack/scheduled_jobs?queue_key=default").status_code == 200
    assert wire.ask("GET", "/token").status_code == 404


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"key": "my stack"}, Rule.STACK_KEY),
        ({"key": "k" * 81}, Rule.STACK_KEY),
        ({"type": "mainframe"}, Rule.STACK_TYPE),
        ({"metadata": {"n": 1}}, Rule.METADATA),
        ({"metadata": {"n": "x" * 257}}, Rule.METADATA),
    ],
)
def test_a_wrong_registration_is_refused_and_counted(wire: Wire, change: dict[str, object], rule: Rule) -> None:
    assert wire.ask("POST", "/stacks/register", json={**STACK, **change}).status_code == 422
    assert wire.rules() == [rule]


def test_an_organisation_has_only_so_many_stacks() -> None:
    wire = Wire(Settings(limits=Limits(stack_quota=1))).registered()
    assert wire.ask("POST", "/stacks/register", json={**STACK, "key": "second"}).status_code == 403
    assert wire.ask("POST", "/stacks/register", json=STACK).status_code == 200


def test_each_endpoint_has_its_rate_and_says_so(wire: Wire) -> None:
    path = "/stacks/stack/scheduled-jobs?queue_key=default"
    answers = [wire.ask("GET", path) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert answers[0].headers["RateLimit-Limit"] == "10"
    assert answers[0].headers["RateLimit-Remaining"] == "9"
    assert answers[10].headers["Retry-After"] == "1"
    assert set(answers[10].json()) >= {"message", "scope", "limit", "current", "reset"}
    assert wire.ask("POST", "/stacks/stack/jobs/get-states", json={"job_uuids": []}).status_code == 200
    wire.clock.sleep(timedelta(seconds=1))
    assert wire.ask("GET", path).status_code == 200


def test_too_many_ids_are_refused(wire: Wire) -> None:
    ids = [str(n) for n in range(1_001)]
    assert wire.ask("POST", "/stacks/stack/jobs/get-states", json={"job_uuids": ids}).status_code == 422
    assert wire.rules() == [Rule.IDS_PER_REQUEST]


@pytest.mark.parametrize("seconds", [0, -1, 3_601])
def test_a_reservation_lasts_an_hour_at_most(wire: Wire, seconds: int) -> None:
    assert "message" in wire.reserve(wire.push(), seconds)
    assert wire.rules() == [Rule.RESERVATION_TIME]


def test_a_reservation_that_ends_puts_the_job_back_where_it_was(wire: Wire) -> None:
    (job_id,) = wire.push()
    scheduled_at = wire.buildkite.job(job_id).scheduled_at
    wire.reserve([job_id], 60)
    wire.clock.sleep(timedelta(seconds=60))
    job = wire.buildkite.job(job_id)
    assert (job.state, job.scheduled_at) == (JobState.SCHEDULED, scheduled_at)


def test_a_token_registers_one_agent_for_one_job(wire: Wire) -> None:
    mine, other = wire.push(Step(), Step())
    wire.reserve([mine, other])
    token = wire.job_token(mine)
    session = wire.agent(token).json()["access_token"]
    assert wire.agent(token).status_code == 401
    assert wire.ask("PUT", f"/jobs/{other}/acquire", session).status_code == 403
    assert wire.ask("PUT", f"/jobs/{mine}/acquire", session).status_code == 200


@pytest.mark.parametrize(("lifetime", "reservation"), [(10, 900), (900, 10)])
def test_a_token_dies_with_its_lifetime_or_its_reservation(wire: Wire, lifetime: int, reservation: int) -> None:
    (job_id,) = wire.push()
    wire.reserve([job_id], reservation)
    token = wire.job_token(job_id, lifetime)
    wire.clock.sleep(timedelta(seconds=10))
    assert wire.agent(token).status_code == 401


def test_the_wrong_queue_finds_no_job(wire: Wire) -> None:
    wire.buildkite.add_queue("other")
    (job_id,) = wire.push()
    session = wire.agent(AGENT_TOKEN, "other").json()["access_token"]
    assert wire.ask("PUT", f"/jobs/{job_id}/acquire", session).status_code == 404


def acquired(wire: Wire, step: Step | None = None) -> tuple[str, str, str]:
    """Job, session token, job token."""
    (job_id,) = wire.push(step or Step())
    session = wire.agent(AGENT_TOKEN).json()["access_token"]
    answer = wire.ask("PUT", f"/jobs/{job_id}/acquire", session).json()
    return job_id, session, answer["token"]


def test_one_agent_acquires_a_job(wire: Wire) -> None:
    job_id, _, _ = acquired(wire)
    session = wire.agent(AGENT_TOKEN).json()["access_token"]
    assert wire.ask("PUT", f"/jobs/{job_id}/acquire", session).status_code == 422


def test_an_agent_runs_its_job_from_start_to_finish(wire: Wire) -> None:
    job_id, session, token = acquired(wire)
    assert wire.ask("PUT", f"/jobs/{job_id}/start", token, json={"started_at": "now"}).status_code == 200
    for sequence, text in ((2, b"world\n"), (1, b"hello ")):
        path = f"/jobs/{job_id}/chunks?sequence={sequence}&offset=0&size={len(text)}"
        assert wire.ask("POST", path, token, content=gzip.compress(text)).is_success
    assert wire.ask("PUT", f"/jobs/{job_id}/finish", token, json={"exit_status": "3"}).status_code == 200
    assert wire.ask("POST", "/disconnect", session).status_code == 200
    job = wire.buildkite.job(job_id)
    assert (job.state, job.exit_status, job.log) == (JobState.FINISHED, 3, "hello world\n")


def test_a_cancellation_is_seen_by_the_agent_and_ends_with_it(wire: Wire) -> None:
    job_id, _, token = acquired(wire)
    wire.ask("PUT", f"/jobs/{job_id}/start", token, json={})
    wire.buildkite.cancel_job(job_id)
    assert wire.ask("GET", f"/jobs/{job_id}", token).json()["state"] == "canceling"
    wire.ask("PUT", f"/jobs/{job_id}/finish", token, json={"exit_status": "-1", "signal": "SIGTERM"})
    assert wire.buildkite.job(job_id).state is JobState.CANCELED


def test_an_agent_that_falls_silent_is_lost_with_its_job(wire: Wire) -> None:
    job_id, session, token = acquired(wire)
    wire.ask("PUT", f"/jobs/{job_id}/start", token, json={})
    wire.clock.sleep(timedelta(minutes=2))
    wire.ask("POST", "/heartbeat", session, json={"sent_at": "now"})
    wire.clock.sleep(timedelta(minutes=2, seconds=59))
    assert wire.buildkite.job(job_id).state is JobState.RUNNING
    wire.clock.sleep(timedelta(seconds=1))
    job = wire.buildkite.job(job_id)
    assert (job.state, job.exit_status, job.signal_reason) == (JobState.FINISHED, -1, "agent_lost")


def test_an_automatic_retry_is_a_new_job(wire: Wire) -> None:
    job_id, _, token = acquired(wire, Step(retry_automatic_limit=1))
    wire.ask("PUT", f"/jobs/{job_id}/start", token, json={})
    wire.ask("PUT", f"/jobs/{job_id}/finish", token, json={"exit_status": "1"})
    again = wire.buildkite.job(job_id).retried_by
    assert again is not None
    assert wire.buildkite.job(again).state is JobState.SCHEDULED
    assert wire.buildkite.job(job_id).state is JobState.FINISHED


def test_a_stack_finishes_a_job_once_and_never_an_agents(wire: Wire) -> None:
    (job_id,) = wire.push()
    for status in (204, 404):
        answer = wire.ask("POST", f"/stacks/stack/jobs/{job_id}/finish", json={"detail": "no"})
        assert answer.status_code == status
    assert wire.buildkite.job(job_id).exit_status == -1
    assert wire.rules() == [Rule.FINISH_ONCE]
    running, _, _ = acquired(wire)
    assert wire.ask("POST", f"/stacks/stack/jobs/{running}/finish", json={"detail": "no"}).status_code == 422


def test_notifications_are_judged_one_by_one(wire: Wire) -> None:
    (job_id,) = wire.push()
    wire.clock.sleep(timedelta(seconds=10))
    notes = [
        {"job_uuid": job_id, "detail": "good"},
        {"job_uuid": job_id, "detail": "x" * 257},
        {"job_uuid": "none", "detail": "good"},
        {"job_uuid": job_id, "detail": "good", "timestamp": "2030-01-01T00:00:00Z"},
        {"job_uuid": job_id, "detail": "good", "timestamp": "2020-01-01T00:00:00Z"},
    ]
    answer = wire.ask("POST", "/stacks/stack/notifications", json={"notifications": notes})
    assert answer.status_code == 200
    assert sorted(index for error in answer.json()["errors"] for index in error["indexes"]) == [1, 2, 3, 4]
    assert len(wire.buildkite.job(job_id).notifications) == 1


def test_a_job_that_is_long_over_is_told_nothing(wire: Wire) -> None:
    (job_id,) = wire.push()
    wire.buildkite.cancel_job(job_id)
    wire.clock.sleep(timedelta(seconds=301))
    body = {"notifications": [{"job_uuid": job_id, "detail": "late"}]}
    assert wire.ask("POST", "/stacks/stack/notifications", json=body).json()["errors"]
    assert Rule.NOTIFICATION_LATE in wire.rules()


def test_a_job_carries_only_so_many_notifications(wire: Wire) -> None:
    (job_id,) = wire.push()
    body = {"notifications": [{"job_uuid": job_id, "detail": f"n{n}"} for n in range(101)]}
    assert wire.ask("POST", "/stacks/stack/notifications", json=body).json()["errors"][0]["indexes"] == [100]


def test_the_same_seed_gives_the_same_ids() -> None:
    first, second = Wire().registered(), Wire().registered()
    assert first.push(Step(), Step()) == second.push(Step(), Step())


def test_the_access_log_names_who_asked_but_never_a_token(wire: Wire) -> None:
    (job_id,) = wire.push()
    wire.reserve([job_id])
    token = wire.job_token(job_id)
    wire.agent(token)
    log = repr(wire.buildkite.access_log())
    assert token not in log
    assert AGENT_TOKEN not in log
