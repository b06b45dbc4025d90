"""The real client against a Buildkite that gives the answer that is harder for it wherever it may give either."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.adapters.stacks_api.registrations import REGISTERED_FOR_SURE
from agent_stack.domain.classes import DEFAULT_QUEUE_ALIASES
from agent_stack.domain.errors import AgentStackError, NotFoundError
from agent_stack.domain.identifiers import JobId, QueueKey
from agent_stack.domain.states import JobState
from agent_stack.ports import Notification
from tests.contract.stacks import LEASE, QUEUE, Desk, a_desk
from tests.simulator.buildkite import Dialect, Operation, Settings, Step, TokenForm
from tests.simulator.buildkite import JobState as Shown


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def desk_of(stack: ExitStack, served: Dialect = Dialect.CURRENT, **manners: Any) -> Desk:  # noqa: ANN401  (the settings' own)
    settings = Settings(dialects=frozenset({served}), **manners)
    return a_desk(stack, served=served, settings=settings).registered()


both = pytest.mark.parametrize("served", list(Dialect))


@both
def test_a_job_without_rules_may_have_null_for_them(stack: ExitStack, served: Dialect) -> None:
    desk = desk_of(stack, served, null_lists=True)
    (job_id,) = desk.push(Step())
    (job,) = desk.client.list_scheduled(QUEUE).jobs
    assert (job.job_id, job.rules) == (job_id, ())


@both
def test_a_job_without_a_priority_may_have_null_for_it(stack: ExitStack, served: Dialect) -> None:
    desk = desk_of(stack, served, null_priority=True)
    desk.push(Step())
    (job,) = desk.client.list_scheduled(QUEUE).jobs
    assert job.priority == 0


@both
def test_an_answer_in_which_everything_was_reserved_may_have_null_for_the_rest(
    stack: ExitStack, served: Dialect
) -> None:
    desk = desk_of(stack, served, null_lists=True)
    (job_id,) = desk.push(Step())
    answer = desk.client.reserve(QUEUE, [job_id], LEASE)
    assert (set(answer.reserved), list(answer.errors)) == ({job_id}, [])


def test_an_answer_in_which_every_token_was_issued_may_have_null_for_the_rest(stack: ExitStack) -> None:
    desk = desk_of(stack, null_lists=True)
    (job_id,) = desk.push(Step())
    desk.client.reserve(QUEUE, [job_id], LEASE)  # whatever is read of its answer
    answer = desk.client.issue_tokens(QUEUE, [job_id], LEASE)
    assert (set(answer.tokens), list(answer.errors)) == ({job_id}, [])


def test_notifications_that_were_all_created_may_have_null_for_errors(stack: ExitStack) -> None:
    desk = desk_of(stack, null_lists=True)
    (job_id,) = desk.push(Step())
    assert desk.client.notify(QUEUE, [Notification(job_id=job_id, text="hello", at=desk.clock.now())]) == {}


def test_an_answer_about_nothing_may_have_null_for_every_list_and_map(stack: ExitStack) -> None:
    """Null is an empty answer, not an unreadable one, which would keep a queue from being served."""
    desk = desk_of(stack, null_lists=True, null_maps=True)
    unknown = JobId("0190d2f8-0000-4000-8000-00000000dead")
    assert desk.client.list_scheduled(QUEUE).jobs == ()
    reserved = desk.client.reserve(QUEUE, [unknown], LEASE)
    assert (set(reserved.reserved), set(reserved.not_reserved), list(reserved.errors)) == (set(), {unknown}, [])
    states = desk.client.job_states(QUEUE, [unknown])
    assert (dict(states.states), list(states.errors)) == ({}, [])
    tokens = desk.client.issue_tokens(QUEUE, [unknown], LEASE)
    assert (set(tokens.tokens), set(tokens.not_issued), list(tokens.errors)) == (set(), {unknown}, [])
    (job_id,) = desk.push(Step())
    desk.buildkite.forget_environment(job_id)
    assert desk.client.job_details(QUEUE, job_id).env == {}


def test_a_token_may_be_a_long_jwt_and_is_told_to_nobody(stack: ExitStack) -> None:
    desk = desk_of(stack, token_form=TokenForm.JWT)
    (job_id,) = desk.reserved()
    answer = desk.client.issue_tokens(QUEUE, [job_id], LEASE)
    assert len(answer.tokens[job_id]) == 1_400
    assert not [secret for secret in desk.buildkite.credentials() if secret in desk.said() + repr(answer)]


@pytest.mark.parametrize("exit_status", [0, 1])
def test_an_ended_job_may_be_called_by_its_result(stack: ExitStack, exit_status: int) -> None:
    desk = desk_of(stack, ended_shows_result=True)
    (job_id,) = desk.reserved()
    desk.client.finish(QUEUE, job_id, exit_status=exit_status, detail="why")
    (seen,) = desk.client.job_states(QUEUE, [job_id]).states.values()
    assert seen is not JobState.UNRECOGNISED


@pytest.mark.parametrize("held", [Shown.PLATFORM_LIMITED])
def test_a_job_that_the_platform_limits_is_known_and_inert(stack: ExitStack, held: Shown) -> None:
    desk = desk_of(stack)
    (job_id,) = desk.push(Step(held=held))
    (seen,) = desk.client.job_states(QUEUE, [job_id]).states.values()
    assert seen is not JobState.UNRECOGNISED


AT_THE_STACK: dict[str, Callable[[Desk, JobId], object]] = {
    Operation.RESERVE_JOBS: lambda desk, job_id: desk.client.reserve(QUEUE, [job_id], LEASE),
    Operation.GET_JOB_STATES: lambda desk, job_id: desk.client.job_states(QUEUE, [job_id]),
    Operation.NOTIFY: lambda desk, job_id: desk.client.notify(
        QUEUE, [Notification(job_id=job_id, text="hello", at=desk.clock.now())]
    ),
    Operation.ISSUE_ACQUISITION_TOKENS: lambda desk, job_id: desk.client.issue_tokens(QUEUE, [job_id], LEASE),
}
"""What has no job in its path: a 404 can only mean the stack."""


@pytest.mark.parametrize("operation", AT_THE_STACK)
def test_a_forgotten_stack_is_known_by_the_endpoint_and_not_by_the_wording(stack: ExitStack, operation: str) -> None:
    desk = desk_of(stack, not_found_says_what=False)
    (job_id,) = desk.reserved()
    desk.client.deregister(QUEUE)
    with suppress(AgentStackError):
        AT_THE_STACK[operation](desk, job_id)
    assert len(desk.buildkite.stacks()) == 1


def test_a_403_means_too_many_stacks_on_registration_only(stack: ExitStack) -> None:
    desk = desk_of(stack)
    desk.buildkite.faults.fail(Operation.GET_JOB_STATES, status=403, message="Forbidden")
    (error,) = desk.client.job_states(QUEUE, [JobId("a")]).errors
    assert "stacks that are no longer used" not in str(error)


@both
def test_every_request_accepts_json(stack: ExitStack, served: Dialect) -> None:
    desk = desk_of(stack, served, requires_accept=True)
    desk.push(Step())
    assert len(desk.client.list_scheduled(QUEUE).jobs) == 1


def test_notifications_of_one_request_stand_in_the_order_in_which_they_happened(stack: ExitStack) -> None:
    desk = desk_of(stack)
    (job_id,) = desk.reserved()
    began = desk.clock.now()
    desk.clock.sleep(timedelta(seconds=10))
    notes = [
        Notification(job_id=job_id, text=text, at=began + timedelta(seconds=seconds))
        for seconds, text in enumerate(("asked for", "booting", "started"))
    ]
    assert desk.client.notify(QUEUE, notes) == {}
    assert [n.detail for n in desk.buildkite.job(job_id).notifications] == ["asked for", "booting", "started"]


@both
def test_a_listed_job_keeps_what_its_urls_and_costs_need(stack: ExitStack, served: Dialect) -> None:
    desk = desk_of(stack, served)
    build = desk.buildkite.create_build("app", steps=[Step()], branch="feature")
    (job,) = desk.client.list_scheduled(QUEUE).jobs
    kept = {str(getattr(job, name)) for name in dir(job) if not name.startswith("_")}
    assert {"app", build.pipeline_id, str(build.number), "feature"} <= kept


def test_a_listed_job_says_since_when_it_is_runnable_where_the_listing_does(stack: ExitStack) -> None:
    desk = desk_of(stack)
    desk.push(Step(runnable_after=timedelta(minutes=45)))
    desk.clock.sleep(timedelta(minutes=46))
    (job,) = desk.client.list_scheduled(QUEUE).jobs
    moments = [getattr(job, name) for name in dir(job) if not name.startswith("_")]
    assert desk.clock.now() - timedelta(minutes=1) in moments


def test_jobs_of_a_deleted_build_are_left_out_of_states_for_ever(stack: ExitStack) -> None:
    desk = desk_of(stack)
    build = desk.buildkite.create_build(steps=[Step()])
    job_id = JobId(build.job_ids[0])
    desk.client.reserve(QUEUE, [job_id], LEASE)
    desk.buildkite.delete_build(build.id)
    for _ in range(2):
        answer = desk.client.job_states(QUEUE, [job_id])
        assert (answer.states, answer.errors) == ({}, ())
        desk.clock.sleep(timedelta(days=1))


def test_a_404_that_names_a_job_too_may_be_about_the_stack(stack: ExitStack) -> None:
    desk = desk_of(stack, not_found_says_what=False)
    (job_id,) = desk.push(Step())
    desk.clock.sleep(REGISTERED_FOR_SURE)
    desk.client.deregister(QUEUE)
    assert desk.client.job_details(QUEUE, job_id).job_id == job_id
    assert len(desk.buildkite.stacks()) == 1


def test_a_404_about_a_job_soon_after_a_registration_costs_no_other(stack: ExitStack) -> None:
    desk = desk_of(stack, not_found_says_what=False)
    for _ in range(3):
        with pytest.raises(NotFoundError):
            desk.client.job_details(QUEUE, JobId("nobody"))
    assert desk.requests(Operation.REGISTER_STACK) == 1


def test_a_queue_that_is_gone_is_not_registered_with_every_request(stack: ExitStack) -> None:
    desk = desk_of(stack)
    desk.client.list_scheduled(QUEUE)
    desk.buildkite.faults.fail(Operation.LIST_SCHEDULED_JOBS, status=404, times=1_000)
    desk.buildkite.faults.fail(Operation.REGISTER_STACK, status=404, times=1_000)
    for _ in range(300):
        desk.clock.sleep(timedelta(seconds=1))
        with pytest.raises(NotFoundError):
            desk.client.list_scheduled(QUEUE)
    assert desk.requests(Operation.REGISTER_STACK) <= 1 + 300 / 5


def test_a_time_that_buildkite_refuses_costs_no_notification_and_sends_none_twice(stack: ExitStack) -> None:
    desk = desk_of(stack)
    job_ids = desk.reserved(Step(), Step())
    before_creation = desk.clock.now() - timedelta(days=1)
    notes = [
        Notification(job_id=job_ids[0], text="of a clock that is behind", at=before_creation),
        Notification(job_id=job_ids[1], text="in time", at=desk.clock.now()),
    ]
    assert desk.client.notify(QUEUE, notes) == {}
    assert [len(desk.buildkite.job(job_id).notifications) for job_id in job_ids] == [1, 1]


def test_notifications_of_one_moment_keep_their_order(stack: ExitStack) -> None:
    desk = desk_of(stack)
    (job_id,) = desk.reserved()
    desk.clock.sleep(timedelta(seconds=10))
    notes = [Notification(job_id=job_id, text=text, at=desk.clock.now()) for text in ("first", "second", "third")]
    desk.client.notify(QUEUE, notes)
    assert [n.detail for n in desk.buildkite.job(job_id).notifications] == ["first", "second", "third"]


@pytest.mark.parametrize("alias", sorted(DEFAULT_QUEUE_ALIASES))
def test_the_default_queue_may_be_served_by_its_alias(stack: ExitStack, alias: str) -> None:
    desk = a_desk(stack, queues=(QueueKey(alias),)).registered(QueueKey(alias))
    (job_id,) = desk.push(Step())
    (listed,) = desk.client.list_scheduled(QueueKey(alias)).jobs
    assert listed.job_id == job_id
    assert set(desk.client.reserve(QueueKey(alias), [job_id], LEASE).reserved) == {job_id}
