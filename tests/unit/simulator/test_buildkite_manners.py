"""Where the real Buildkite may answer in two ways, a setting chooses; and what its README says runs as it stands."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.simulator import buildkite as package
from tests.simulator.buildkite import AGENT_TOKEN, Dialect, JobState, Operation, Settings, Step, TokenForm
from tests.simulator.buildkite.rules import Rule
from tests.simulator.buildkite.states import ACQUIRABLE, OVER
from tests.unit.simulator.test_buildkite import STACK, Wire, acquired

README = Path(str(package.__file__)).with_name("README.md")
MINUTE = timedelta(minutes=1)


def wired(**settings: Any) -> Wire:  # noqa: ANN401  (the settings' own)
    return Wire(Settings(**settings)).registered()


def listed(wire: Wire, path: str = "scheduled-jobs", queue: str = "default") -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = wire.ask("GET", f"/stacks/stack/{path}?queue_key={queue}").json()["jobs"]
    return jobs


def states(wire: Wire, *job_ids: str) -> dict[str, str]:
    answer: dict[str, str] = wire.ask("POST", "/stacks/stack/jobs/get-states", json={"job_uuids": job_ids}).json()[
        "states"
    ]
    return answer


def test_the_ten_lines_of_the_readme_run() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    written = [line for line in snippet.splitlines() if line]
    tests = [line.removeprefix("def ").partition("(")[0] for line in written if line.startswith("def test_")]
    assert (len(written), len(tests)) == (10, 1)
    names: dict[str, Any] = {}
    exec(snippet, names)
    names[tests[0]]()


def test_every_setting_that_the_readme_names_exists_and_harsh_changes_it() -> None:
    named = re.findall(r"^\| `(\w+)` \|", README.read_text(), re.MULTILINE)
    kind, harsh = Settings(), Settings.harsh()
    assert named
    assert all(getattr(kind, name) != getattr(harsh, name) for name in named)
    assert Settings.harsh(null_lists=False).null_lists is False


def test_a_job_is_as_old_as_its_creation_and_runnable_when_what_holds_it_is_over() -> None:
    wire = wired()
    (job_id,) = wire.push(Step(runnable_after=45 * MINUTE))
    created = wire.clock.now()
    assert (wire.buildkite.job(job_id).state, listed(wire)) == (JobState.WAITING, [])
    wire.clock.sleep(45 * MINUTE)
    job = wire.buildkite.job(job_id)
    assert (job.scheduled_at, job.runnable_at) == (created, created + 45 * MINUTE)
    (shown,) = listed(wire)
    assert datetime.fromisoformat(shown["scheduled_at"]) == created
    assert datetime.fromisoformat(shown["runnable_at"]) == created + 45 * MINUTE


@pytest.mark.parametrize("path", ["scheduled-jobs", "scheduled_jobs"])
def test_a_listing_may_say_nothing_of_when_a_job_became_runnable(path: str) -> None:
    wire = wired(shows_runnable_at=False)
    wire.push()
    assert "runnable_at" not in listed(wire, path)[0]


def test_the_preview_never_shows_when_a_job_became_runnable() -> None:
    wire = wired()
    wire.push()
    assert "runnable_at" not in listed(wire, "scheduled_jobs")[0]


def test_jobs_of_one_build_are_equally_old_and_listed_as_their_steps_stand() -> None:
    wire = wired()
    first, held, last = wire.push(Step(key="a"), Step(key="b", held=JobState.BLOCKED), Step(key="c"))
    assert [job["id"] for job in listed(wire)] == [first, last]
    wire.clock.sleep(MINUTE)
    later = wire.push()
    wire.buildkite.release(held)
    assert [job["id"] for job in listed(wire)] == [first, held, last, *later]
    assert len({job["scheduled_at"] for job in listed(wire)[:3]}) == 1


@pytest.mark.parametrize(
    "held",
    [JobState.PENDING, JobState.WAITING, JobState.BLOCKED, JobState.LIMITED, JobState.PLATFORM_LIMITED],
)
def test_a_held_job_shows_its_state_and_no_stack_or_agent_gets_it(held: JobState) -> None:
    wire = wired()
    (job_id,) = wire.push(Step(held=held))
    assert states(wire, job_id) == {job_id: held.value}
    assert wire.reserve([job_id])["not_reserved"] == [job_id]
    session = wire.agent(AGENT_TOKEN).json()["access_token"]
    assert wire.ask("PUT", f"/jobs/{job_id}/acquire", session).status_code == 422
    wire.buildkite.release(job_id)
    assert states(wire, job_id) == {job_id: "scheduled"}
    assert wire.buildkite.job(job_id).runnable_at == wire.clock.now()


@pytest.mark.parametrize("no_hold", sorted(OVER | ACQUIRABLE | {JobState.RUNNING}))
def test_no_job_is_held_in_a_state_that_does_not_hold(no_hold: JobState) -> None:
    with pytest.raises(ValueError, match="held"):
        Step(held=no_hold)


def ended(wire: Wire, job_id: str, exit_status: int) -> None:
    session = wire.agent(AGENT_TOKEN).json()["access_token"]
    token = wire.ask("PUT", f"/jobs/{job_id}/acquire", session).json()["token"]
    wire.ask("PUT", f"/jobs/{job_id}/start", token, json={})
    assert wire.ask("PUT", f"/jobs/{job_id}/finish", token, json={"exit_status": str(exit_status)}).is_success


@pytest.mark.parametrize(("exit_status", "then"), [(0, JobState.SCHEDULED), (1, JobState.WAITING_FAILED)])
def test_a_step_waits_for_others_and_fails_with_them(exit_status: int, then: JobState) -> None:
    wire = wired()
    tests, lint, deploy = wire.push(Step(key="tests"), Step(key="lint"), Step(waits_for=["tests", "lint"]))
    ended(wire, lint, 0)
    assert wire.buildkite.job(deploy).state is JobState.WAITING
    ended(wire, tests, exit_status)
    assert wire.buildkite.job(deploy).state is then


def test_a_step_waits_for_the_retry_of_what_failed() -> None:
    wire = wired()
    tests, deploy = wire.push(Step(key="tests", retry_automatic_limit=1), Step(waits_for=["tests"]))
    ended(wire, tests, 1)
    again = wire.buildkite.job(tests).retried_by
    assert again is not None
    assert wire.buildkite.job(deploy).state is JobState.WAITING
    ended(wire, again, 0)
    assert wire.buildkite.job(deploy).state is JobState.SCHEDULED


def test_a_concurrency_group_lets_the_oldest_go_first() -> None:
    wire = wired()
    first, second, third = wire.push(*(Step(concurrency_group="deploy") for _ in range(3)))
    assert states(wire, first, second, third) == {first: "scheduled", second: "limited", third: "limited"}
    wire.clock.sleep(MINUTE)
    wire.buildkite.cancel_job(first)
    assert states(wire, second, third) == {second: "scheduled", third: "limited"}
    assert wire.buildkite.job(second).runnable_at == wire.clock.now()
    assert wire.buildkite.job(second).scheduled_at == wire.clock.now() - MINUTE


def test_a_job_that_was_released_into_a_full_group_is_limited() -> None:
    wire = wired()
    first, second = wire.push(Step(concurrency_group="deploy"), Step(concurrency_group="deploy", held=JobState.BLOCKED))
    wire.buildkite.release(second)
    assert wire.buildkite.job(second).state is JobState.LIMITED
    wire.buildkite.cancel_job(first)
    assert wire.buildkite.job(second).state is JobState.SCHEDULED


def test_empty_lists_may_be_null() -> None:
    wire = wired(null_lists=True)
    (job_id,) = wire.push()
    assert listed(wire)[0]["agent_query_rules"] is None
    assert wire.reserve([job_id]) == {"reserved": [job_id], "not_reserved": None}
    asked = {"job_uuids": [job_id]}
    assert wire.ask("POST", "/stacks/stack/job-acquisition-tokens", json=asked).json()["not_issued"] is None
    note = {"notifications": [{"job_uuid": job_id, "detail": "hello"}]}
    assert wire.ask("POST", "/stacks/stack/notifications", json=note).json() == {"errors": None}


def test_each_list_and_map_of_an_answer_may_be_null_when_it_is_empty() -> None:
    wire = wired(null_lists=True, null_maps=True)
    assert listed(wire) is None
    assert wire.reserve(["none"]) == {"reserved": None, "not_reserved": ["none"]}
    none = {"job_uuids": ["none"]}
    tokens = wire.ask("POST", "/stacks/stack/job-acquisition-tokens", json=none).json()
    assert tokens == {"job_acquisition_tokens": None, "not_issued": ["none"]}
    assert wire.ask("POST", "/stacks/stack/jobs/get-states", json=none).json() == {"states": None}
    (job_id,) = wire.push(Step(command="true"))
    wire.buildkite.forget_environment(job_id)
    assert wire.ask("GET", f"/stacks/stack/jobs/{job_id}").json()["env"] is None


def test_lists_that_hold_something_are_never_null() -> None:
    wire = wired(null_lists=True)
    (job_id,) = wire.push(Step(agents=["class=large"]))
    assert listed(wire)[0]["agent_query_rules"] == ["class=large"]
    assert wire.reserve(["none"])["not_reserved"] == ["none"]
    asked = {"job_uuids": [job_id]}
    assert wire.ask("POST", "/stacks/stack/job-acquisition-tokens", json=asked).json()["not_issued"] == [job_id]
    note = {"notifications": [{"job_uuid": "none", "detail": "hello"}]}
    assert wire.ask("POST", "/stacks/stack/notifications", json=note).json()["errors"]


@pytest.mark.parametrize(("null", "shown"), [(False, [0, 3]), (True, [None, 3])])
def test_a_priority_that_no_pipeline_names_may_be_null(null: bool, shown: list[int | None]) -> None:  # noqa: FBT001  (a parameter of the table above)
    wire = wired(null_priority=null)
    wire.push(Step(), Step(priority=3))
    assert [job["priority"] for job in listed(wire)] == shown


def test_an_acquisition_token_may_be_a_long_jwt() -> None:
    wire = wired(token_form=TokenForm.JWT)
    (job_id,) = wire.push()
    wire.reserve([job_id])
    token = wire.job_token(job_id)
    assert len(token) == 1_400
    assert re.fullmatch(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", token)
    session = wire.agent(token).json()["access_token"]
    assert wire.ask("PUT", f"/jobs/{job_id}/acquire", session).status_code == 200
    assert {token, session, AGENT_TOKEN} <= wire.buildkite.credentials()


def test_all_known_stack_types_register() -> None:
    wire = Wire()
    answers = [
        wire.ask("POST", "/stacks/register", json={**STACK, "key": kind, "type": kind})
        for kind in ("custom", "kubernetes", "elastic")
    ]
    assert [answer.status_code for answer in answers] == [201, 201, 201]


@pytest.mark.parametrize("alias", ["_default", "__default__"])
def test_a_stack_may_call_the_default_queue_by_an_alias_and_an_agent_may_not(alias: str) -> None:
    wire = Wire()
    answer = wire.ask("POST", "/stacks/register", json={**STACK, "queue_key": alias})
    assert (answer.status_code, answer.json()["cluster_queue_key"]) == (201, "default")
    wire.push()
    assert len(listed(wire, queue=alias)) == 1
    assert wire.agent(AGENT_TOKEN, alias).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/stacks/register", {**STACK, "key": None}),
        ("POST", "/stacks/register", {**STACK, "type": 7}),
        ("POST", "/stacks/register", {**STACK, "queue_key": None}),
        ("POST", "/stacks/register", {**STACK, "metadata": None}),
        ("POST", "/stacks/register", [STACK]),
        ("PUT", "/stacks/stack/scheduled-jobs/batch-reserve", {}),
        ("PUT", "/stacks/stack/scheduled-jobs/batch-reserve", {"job_uuids": "one"}),
        ("PUT", "/stacks/stack/scheduled-jobs/batch-reserve", {"job_uuids": [], "reservation_expiry_seconds": "9"}),
        ("POST", "/stacks/stack/jobs/get-states", {"job_uuids": None}),
        ("POST", "/stacks/stack/jobs/get-states", {"job_uuids": [1]}),
        ("POST", "/stacks/stack/notifications", {"notifications": {}}),
        ("POST", "/stacks/stack/job-acquisition-tokens", {}),
    ],
)
def test_a_bad_parameter_is_400(method: str, path: str, body: object) -> None:
    wire = wired()
    assert wire.ask(method, path, json=body).status_code == 400
    assert len(wire.rules()) == 1


@pytest.mark.parametrize("query", ["", "?queue_key=default&limit=0", "?queue_key=default&limit=1001", "?queue_key="])
def test_a_bad_query_is_400(query: str) -> None:
    wire = wired()
    assert wire.ask("GET", f"/stacks/stack/scheduled-jobs{query}").status_code == 400
    assert wire.rules() == [Rule.QUERY]


def test_an_ended_job_may_show_its_result() -> None:
    wire = wired(ended_shows_result=True)
    good, bad, cancelled = wire.push(Step(), Step(), Step())
    ended(wire, good, 0)
    ended(wire, bad, 3)
    wire.buildkite.cancel_job(cancelled)
    assert states(wire, good, bad, cancelled) == {good: "passed", bad: "failed", cancelled: "canceled"}


@pytest.mark.parametrize("dialect", list(Dialect))
def test_a_deleted_build_is_known_to_no_answer_for_ever(dialect: Dialect) -> None:
    wire = wired(dialects=frozenset({dialect}))
    build = wire.buildkite.create_build(steps=[Step(), Step(key="reserved"), Step(held=JobState.BLOCKED)])
    other = wire.push()
    listing = "scheduled-jobs" if dialect is Dialect.CURRENT else "scheduled_jobs"
    reserving = "batch-reserve" if dialect is Dialect.CURRENT else "batch_reserve"
    reserved = build.job_id("reserved")
    assert wire.ask("PUT", f"/stacks/stack/{listing}/{reserving}", json={"job_uuids": [reserved]}).is_success
    wire.buildkite.delete_build(build.id)
    for _ in range(2):
        assert set(states(wire, *build.job_ids, *other)) == set(other)
        assert [job["id"] for job in listed(wire, listing)] == other
        answer = wire.ask("PUT", f"/stacks/stack/{listing}/{reserving}", json={"job_uuids": [reserved]})
        assert answer.json() == {"reserved": [], "not_reserved": [reserved]}
        assert wire.ask("GET", f"/stacks/stack/jobs/{reserved}").status_code == 404
        finished = wire.ask("POST", f"/stacks/stack/jobs/{reserved}/finish", json={"detail": "no"})
        assert finished.status_code == 404
        wire.clock.sleep(timedelta(days=1))
    job = wire.buildkite.job(reserved)
    assert (job.deleted, job.reserved_by, job.state) == (True, None, JobState.CANCELED)


def test_an_agent_whose_build_is_deleted_is_told_that_its_job_is_unknown() -> None:
    wire = wired()
    job_id, session, token = acquired(wire)
    wire.ask("PUT", f"/jobs/{job_id}/start", token, json={})
    wire.buildkite.delete_build(wire.buildkite.job(job_id).build_id)
    assert wire.ask("GET", f"/jobs/{job_id}", token).status_code in {401, 404}
    assert wire.ask("PUT", f"/jobs/{job_id}/finish", token, json={"exit_status": "0"}).status_code in {401, 404}
    assert wire.ask("POST", "/disconnect", session).status_code == 200
    wire.clock.sleep(timedelta(minutes=5))
    wire.buildkite.advance()
    assert wire.buildkite.job(job_id).state is JobState.CANCELED


def test_the_wording_of_a_404_may_tell_nothing() -> None:
    wire = wired(not_found_says_what=False)
    answers = [
        wire.ask("GET", "/stacks/other/scheduled-jobs?queue_key=default"),
        wire.ask("GET", "/stacks/stack/scheduled-jobs?queue_key=other"),
        wire.ask("GET", "/stacks/stack/jobs/none"),
        wire.ask("POST", "/stacks/other/jobs/get-states", json={"job_uuids": []}),
        wire.ask("POST", "/stacks/stack/jobs/none/finish", json={"detail": "no"}),
    ]
    assert {(answer.status_code, answer.json()["message"]) for answer in answers} == {(404, "Not Found")}
    assert "Stack not found" in {record.refusal for record in wire.buildkite.access_log()}


def test_403_means_too_many_stacks_on_registration_only() -> None:
    wire = wired()
    wire.buildkite.faults.fail(Operation.GET_JOB_STATES, status=403, message="Too many stacks")
    answer = wire.ask("POST", "/stacks/stack/jobs/get-states", json={"job_uuids": []})
    assert (answer.status_code, answer.json()["message"]) == (403, "Too many stacks")


def test_a_request_that_does_not_accept_json_gets_none() -> None:
    wire = wired()
    path = "/stacks/stack/scheduled-jobs?queue_key=default"
    assert wire.ask("GET", path).status_code == 200
    strict = Wire(Settings(requires_accept=True))
    answer = strict.ask("GET", path)
    assert (answer.status_code, answer.content, strict.rules()) == (406, b"", [Rule.ACCEPT])
    headers = {"Authorization": f"Token {AGENT_TOKEN}", "Accept": "application/json, */*;q=0.1"}
    assert strict.http.post("/stacks/register", headers=headers, json=STACK).status_code == 201


def test_a_key_is_one_stack_in_the_organisation_whoever_chose_it() -> None:
    wire = Wire()
    wire.buildkite.add_queue("arm")
    wire.buildkite.add_queue("linux-arm")
    seen: list[tuple[str | None, bool]] = []
    wire.buildkite.on_event(
        lambda e: seen.append((e.before, e.new)) if isinstance(e, package.StackRegistered) else None
    )
    for queue in ("linux-arm", "arm"):  # of the deployments `ci` and `ci-linux`
        wire.ask("POST", "/stacks/register", json={**STACK, "key": "ci-linux-arm", "queue_key": queue})
    (stack,) = wire.buildkite.stacks()
    assert (stack.queue_key, seen) == ("arm", [(None, True), ("linux-arm", False)])


def test_untimed_notifications_of_one_request_come_in_the_services_order() -> None:
    wire = wired()
    (job_id,) = wire.push()
    notes = [{"job_uuid": job_id, "detail": text} for text in ("one", "two", "three")]
    wire.ask("POST", "/stacks/stack/notifications", json={"notifications": notes})
    assert [n.detail for n in wire.buildkite.job(job_id).notifications] == ["three", "two", "one"]


def test_timed_notifications_stand_in_the_order_of_their_times() -> None:
    wire = wired()
    (job_id,) = wire.push()
    wire.clock.sleep(MINUTE)
    now = wire.clock.now()
    notes = [
        {"job_uuid": job_id, "detail": text, "timestamp": (now - before * timedelta(seconds=1)).isoformat()}
        for text, before in (("last", 1), ("first", 9))
    ]
    wire.ask("POST", "/stacks/stack/notifications", json={"notifications": notes})
    assert [n.detail for n in wire.buildkite.job(job_id).notifications] == ["first", "last"]


@pytest.mark.parametrize("branch", ["main", None])
def test_both_dialects_name_pipeline_build_and_branch(branch: str | None) -> None:
    wire = wired()
    build = wire.buildkite.create_build("app", steps=[Step(key="a")], branch=branch)
    (nested,), (flat,) = listed(wire), listed(wire, "scheduled_jobs")
    assert nested["pipeline"] == {"slug": "app", "uuid": build.pipeline_id}
    assert nested["build"] == {"number": 1, "branch": branch, "uuid": build.id}
    names = ("pipeline_slug", "pipeline_id", "build_number", "build_branch", "build_id")
    assert [flat[name] for name in names] == ["app", build.pipeline_id, 1, branch, build.id]
