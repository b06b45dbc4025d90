"""What the client does when things go wrong between it and Buildkite, counted in requests that arrived."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta

import httpx
import pytest

from agent_stack.domain.errors import GiveUpError, NotAskedError, RetryError, UnknownOutcomeError, WaitError
from agent_stack.domain.identifiers import JobId
from agent_stack.domain.states import JobState
from agent_stack.ports import Notification
from tests.contract.stacks import LEASE, QUEUE, Carrier, Desk, a_desk, in_process, over_http
from tests.simulator.buildkite import Operation, Step
from tests.simulator.buildkite.rules import Rule

Ask = Callable[[Desk, JobId], object]

REPEATABLE: dict[Operation, Ask] = {
    Operation.REGISTER_STACK: lambda desk, _: desk.client.register(QUEUE),
    Operation.DEREGISTER_STACK: lambda desk, _: desk.client.deregister(QUEUE),
    Operation.LIST_SCHEDULED_JOBS: lambda desk, _: desk.client.list_scheduled(QUEUE),
    Operation.GET_JOB: lambda desk, job: desk.client.job_details(QUEUE, job),
    Operation.TOKEN_IDENTITY: lambda desk, _: desk.client.token_identity(),
}
IN_BATCHES: dict[Operation, Ask] = {
    Operation.RESERVE_JOBS: lambda desk, job: desk.client.reserve(QUEUE, [job], LEASE).errors,
    Operation.GET_JOB_STATES: lambda desk, job: desk.client.job_states(QUEUE, [job]).errors,
    Operation.ISSUE_ACQUISITION_TOKENS: lambda desk, job: desk.client.issue_tokens(QUEUE, [job], LEASE).errors,
}
EVERY: dict[Operation, Ask] = REPEATABLE | IN_BATCHES


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture(params=[in_process, over_http], ids=["in process", "over http"])
def carrier(request: pytest.FixtureRequest) -> Carrier:
    chosen: Carrier = request.param
    return chosen


@pytest.fixture
def desk(stack: ExitStack, carrier: Carrier) -> Desk:
    return a_desk(stack, carrier=carrier).registered()


def note(desk: Desk, job_id: JobId) -> Notification:
    return Notification(job_id=job_id, text="hello", at=desk.clock.now())


@pytest.mark.parametrize("operation", sorted(EVERY))
def test_a_server_error_is_asked_again(desk: Desk, operation: Operation) -> None:
    (job_id,) = desk.reserved()
    before = desk.requests(operation)
    desk.buildkite.faults.fail(operation, status=502, times=2)
    assert EVERY[operation](desk, job_id) not in [False, "error"]
    assert desk.requests(operation) == before + 3


@pytest.mark.parametrize("operation", sorted(EVERY))
def test_a_lost_answer_is_asked_again(desk: Desk, operation: Operation) -> None:
    (job_id,) = desk.reserved()
    before = desk.requests(operation)
    desk.buildkite.faults.lose_answer(operation)
    EVERY[operation](desk, job_id)
    assert desk.requests(operation) == before + 2


@pytest.mark.parametrize("operation", sorted(EVERY.keys() - {Operation.REGISTER_STACK, Operation.DEREGISTER_STACK}))
def test_a_cut_answer_is_asked_again_by_the_caller(desk: Desk, operation: Operation) -> None:
    """Its status was good, so the effect is there; what it said is not known."""
    (job_id,) = desk.reserved()
    desk.buildkite.faults.cut_answer(operation)
    if operation in IN_BATCHES:
        assert IN_BATCHES[operation](desk, job_id)
    else:
        with pytest.raises(UnknownOutcomeError):
            REPEATABLE[operation](desk, job_id)


def test_an_answer_that_comes_too_late_is_asked_again(stack: ExitStack) -> None:
    desk = a_desk(stack, carrier=in_process).registered()
    before = desk.requests(Operation.LIST_SCHEDULED_JOBS)
    desk.buildkite.faults.delay_answer(Operation.LIST_SCHEDULED_JOBS, seconds=60)
    desk.client.list_scheduled(QUEUE)
    assert desk.requests(Operation.LIST_SCHEDULED_JOBS) == before + 2


@pytest.mark.parametrize("operation", sorted(REPEATABLE))
def test_after_four_tries_the_caller_decides(desk: Desk, operation: Operation) -> None:
    (job_id,) = desk.reserved()
    desk.buildkite.faults.fail(operation, status=500, times=10)
    with pytest.raises(UnknownOutcomeError):
        REPEATABLE[operation](desk, job_id)


@pytest.mark.parametrize("operation", sorted(IN_BATCHES))
def test_a_batch_that_failed_is_told_and_not_raised(desk: Desk, operation: Operation) -> None:
    (job_id,) = desk.reserved()
    desk.buildkite.faults.fail(operation, status=500, times=10)
    assert IN_BATCHES[operation](desk, job_id)


@pytest.mark.parametrize("status", [400, 404, 409, 422])
def test_a_refusal_is_never_asked_again(desk: Desk, status: int) -> None:
    (job_id,) = desk.reserved()
    desk.buildkite.faults.fail(Operation.GET_JOB, status=status)
    with pytest.raises(GiveUpError):
        desk.client.job_details(QUEUE, job_id)
    assert desk.requests(Operation.GET_JOB) == 1


def test_one_chunk_that_fails_leaves_the_others_results(desk: Desk) -> None:
    job_ids = desk.push(*(Step() for _ in range(2_500)))
    desk.buildkite.faults.fail(Operation.RESERVE_JOBS, status=422)
    answer = desk.client.reserve(QUEUE, job_ids, LEASE)
    assert (len(answer.reserved), len(answer.errors)) == (1_500, 1)
    assert desk.requests(Operation.RESERVE_JOBS) == 3


def test_a_finish_that_may_have_arrived_is_never_sent_again(desk: Desk) -> None:
    (job_id,) = desk.reserved()
    desk.buildkite.faults.lose_answer(Operation.FINISH_JOB)
    with pytest.raises(UnknownOutcomeError):
        desk.client.finish(QUEUE, job_id, exit_status=-1, detail="why")
    assert desk.requests(Operation.FINISH_JOB) == 1


@pytest.mark.parametrize(
    ("status", "error"), [(429, RetryError), (500, UnknownOutcomeError), (503, UnknownOutcomeError)]
)
def test_a_finish_that_was_answered_with_an_error_is_not_repeated(
    desk: Desk, status: int, error: type[Exception]
) -> None:
    (job_id,) = desk.reserved()
    desk.buildkite.faults.fail(Operation.FINISH_JOB, status=status)
    with pytest.raises(error):
        desk.client.finish(QUEUE, job_id, exit_status=-1, detail="why")
    assert desk.requests(Operation.FINISH_JOB) == 1


def test_a_finish_that_surely_did_not_arrive_is_sent_again(stack: ExitStack) -> None:
    desk = a_desk(stack, carrier=in_process).registered()
    (job_id,) = desk.reserved()
    desk.buildkite.faults.lose_request(Operation.FINISH_JOB, times=2)
    desk.client.finish(QUEUE, job_id, exit_status=-1, detail="why")
    assert desk.buildkite.job(job_id).stack_finish is not None


def test_a_notification_has_one_try(desk: Desk) -> None:
    (job_id,) = desk.reserved()
    desk.buildkite.faults.lose_answer(Operation.NOTIFY, times=10)
    assert set(desk.client.notify(QUEUE, [note(desk, job_id)])) == {job_id}
    assert len(desk.buildkite.job(job_id).notifications) == 1


def test_a_notification_that_is_throttled_waits_for_nothing(desk: Desk) -> None:
    (job_id,) = desk.reserved()
    desk.buildkite.faults.fail(Operation.NOTIFY, status=429, retry_after=60)
    before = desk.clock.now()
    assert set(desk.client.notify(QUEUE, [note(desk, job_id)])) == {job_id}
    assert desk.clock.now() - before < timedelta(seconds=1)
    assert desk.requests(Operation.NOTIFY) == 1


def a_new_process(stack: ExitStack) -> tuple[Desk, JobId]:
    """A client that knows no dialect yet, as a tracker that begins, and a job that its notifications are about."""
    desk = a_desk(stack, carrier=in_process)
    (job_id,) = desk.push(Step())
    return desk, job_id


def register(desk: Desk) -> None:
    """As the dispatcher does, in a process of its own."""
    with suppress(RetryError, UnknownOutcomeError):
        desk.buildkite.faults.fail(Operation.LIST_SCHEDULED_JOBS, status=500, times=4)
        desk.client.register(QUEUE)  # which learns no dialect, because the listing fails


@pytest.mark.parametrize("status", [429, 500, 401, 403, 404])
def test_notifications_that_must_learn_the_dialect_have_one_short_try_for_it(stack: ExitStack, status: int) -> None:
    desk, job_id = a_new_process(stack)
    desk.buildkite.faults.fail(Operation.LIST_SCHEDULED_JOBS, status=status, retry_after=30, times=10)
    before = desk.clock.now()
    for _ in range(3):
        errors = desk.client.notify(QUEUE, [note(desk, job_id)])
        assert isinstance(errors[job_id], NotAskedError), "nothing was sent, so it is sent later"
    assert desk.clock.now() == before
    assert desk.requests(Operation.LIST_SCHEDULED_JOBS) <= 2, "one for each dialect, and then none for a while"
    assert desk.requests(Operation.REGISTER_STACK) == 0


def test_a_listing_that_is_late_costs_a_notification_two_seconds(stack: ExitStack) -> None:
    desk, job_id = a_new_process(stack)
    desk.buildkite.faults.delay_answer(Operation.LIST_SCHEDULED_JOBS, seconds=60, times=10)
    before = desk.clock.now()
    errors = desk.client.notify(QUEUE, [note(desk, job_id)])
    assert isinstance(errors[job_id], NotAskedError)
    assert desk.clock.now() - before <= timedelta(seconds=2)


def test_notifications_go_out_once_the_dialect_can_be_learnt(stack: ExitStack) -> None:
    desk, job_id = a_new_process(stack)
    register(desk)
    desk.buildkite.faults.fail(Operation.LIST_SCHEDULED_JOBS, status=500)
    desk.client.notify(QUEUE, [note(desk, job_id)])
    desk.clock.sleep(timedelta(seconds=11))
    assert desk.client.notify(QUEUE, [note(desk, job_id)]) == {}


@pytest.mark.parametrize("late", [False, True])
def test_notifications_of_a_forgotten_stack_have_one_short_try_at_a_registration(
    stack: ExitStack,
    late: bool,  # noqa: FBT001  (a case)
) -> None:
    desk = a_desk(stack, carrier=in_process).registered()
    (job_id,) = desk.reserved()
    desk.client.deregister(QUEUE)
    before, registrations = desk.clock.now(), desk.requests(Operation.REGISTER_STACK)
    if late:
        desk.buildkite.faults.delay_answer(Operation.REGISTER_STACK, seconds=60, times=10)
    else:
        desk.buildkite.faults.fail(Operation.REGISTER_STACK, status=429, retry_after=30, times=10)
    errors = desk.client.notify(QUEUE, [note(desk, job_id)])
    assert isinstance(errors[job_id], NotAskedError)
    assert desk.clock.now() - before <= timedelta(seconds=2)
    assert desk.requests(Operation.REGISTER_STACK) == registrations + 1


def test_a_notification_that_the_rate_holds_back_was_not_sent(desk: Desk) -> None:
    (job_id,) = desk.reserved()
    desk.buildkite.faults.fail(Operation.NOTIFY, status=429, retry_after=30)
    desk.client.notify(QUEUE, [note(desk, job_id)])
    assert isinstance(desk.client.notify(QUEUE, [note(desk, job_id)])[job_id], NotAskedError)
    desk.clock.sleep(timedelta(seconds=30))
    assert desk.client.notify(QUEUE, [note(desk, job_id)]) == {}


LONG_WAITS: dict[Operation, Ask] = {op: EVERY[op] for op in EVERY if op is not Operation.TOKEN_IDENTITY}


@pytest.mark.parametrize("operation", sorted(LONG_WAITS))
def test_a_long_retry_after_holds_no_call_and_is_kept(stack: ExitStack, operation: Operation) -> None:
    """A lease lasts nine seconds. The next calls are refused without a request until the time is over."""
    desk = a_desk(stack, carrier=in_process).registered()
    (job_id,) = desk.reserved()
    desk.buildkite.faults.fail(operation, status=429, retry_after=30)
    before, requests = desk.clock.now(), desk.requests(operation)
    for _ in range(3):
        assert RetryError in {type(error) for error in failures_of(desk, job_id, operation)}
        assert desk.clock.now() - before <= timedelta(seconds=2)
    assert desk.requests(operation) == requests + 1
    desk.clock.sleep(timedelta(seconds=30))
    assert failures_of(desk, job_id, operation) == []


def failures_of(desk: Desk, job_id: JobId, operation: Operation) -> list[Exception]:
    """What became of one call, whether the errors are raised or returned."""
    try:
        answer = EVERY[operation](desk, job_id)
    except RetryError as error:
        return [_plain(error)]
    return [_plain(error) for error in answer] if isinstance(answer, tuple) else []


def _plain(error: Exception) -> Exception:
    """A RetryError of any kind as a plain one."""
    return RetryError(str(error)) if isinstance(error, RetryError) else error


def test_several_short_waits_of_one_call_are_bounded_together(stack: ExitStack) -> None:
    desk = a_desk(stack, carrier=in_process).registered()
    (job_id,) = desk.reserved()
    desk.buildkite.faults.fail(Operation.GET_JOB_STATES, status=429, retry_after=1, times=10)
    before = desk.clock.now()
    assert desk.client.job_states(QUEUE, [job_id]).errors
    assert desk.clock.now() - before <= timedelta(seconds=3)


@pytest.mark.parametrize("status", [429, 500, 503, 504])
def test_a_short_retry_after_is_waited_for(desk: Desk, status: int) -> None:
    desk.buildkite.faults.fail(Operation.LIST_SCHEDULED_JOBS, status=status, retry_after=1)
    before = desk.clock.now()
    desk.client.list_scheduled(QUEUE)
    assert timedelta(seconds=1) <= desk.clock.now() - before < timedelta(seconds=2)


@pytest.mark.parametrize("status", [500, 503])
def test_a_service_that_is_away_and_says_how_long_is_left_alone_for_a_minute_at_most(
    stack: ExitStack, status: int
) -> None:
    """A gateway's page may say an hour. Jobs would wait for that long after the service is back."""
    desk = a_desk(stack, carrier=in_process).registered()
    desk.buildkite.faults.fail(Operation.LIST_SCHEDULED_JOBS, status=status, retry_after=3_600)
    requests = desk.requests(Operation.LIST_SCHEDULED_JOBS)
    for _ in range(3):
        with pytest.raises((RetryError, UnknownOutcomeError)):
            desk.client.list_scheduled(QUEUE)
    assert desk.requests(Operation.LIST_SCHEDULED_JOBS) == requests + 1
    desk.clock.sleep(timedelta(seconds=60))
    desk.client.list_scheduled(QUEUE)


def test_a_wait_that_outlasts_the_invocation_is_not_begun(stack: ExitStack) -> None:
    desk = a_desk(stack, left=timedelta(seconds=1)).registered()
    desk.buildkite.faults.fail(Operation.LIST_SCHEDULED_JOBS, status=429, retry_after=2)
    before = desk.clock.now()
    with pytest.raises(RetryError):
        desk.client.list_scheduled(QUEUE)
    assert desk.clock.now() == before


def test_the_published_rates_are_never_exceeded(desk: Desk) -> None:
    (job_id,) = desk.reserved()
    for _ in range(50):
        desk.client.list_scheduled(QUEUE)
        desk.client.job_states(QUEUE, [job_id])
        desk.client.reserve(QUEUE, [job_id], LEASE)
    assert not [violation for violation in desk.buildkite.violations() if violation.rule is Rule.RATE_LIMIT]


def test_a_rotated_token_is_read_again_once(desk: Desk) -> None:
    desk.buildkite.rotate_token()
    desk.client.list_scheduled(QUEUE)
    desk.client.list_scheduled(QUEUE)
    assert desk.token.reads == 1


def test_a_revoked_token_is_for_the_operator(desk: Desk) -> None:
    desk.buildkite.revoke_tokens()
    with pytest.raises(WaitError, match="AgentTokenParameter"):
        desk.client.list_scheduled(QUEUE)
    assert desk.token.reads == 1


def test_a_forgotten_stack_is_registered_again_once(desk: Desk) -> None:
    (job_id,) = desk.reserved()
    desk.client.deregister(QUEUE)
    before = desk.requests(Operation.REGISTER_STACK)
    assert desk.client.job_states(QUEUE, [job_id]).states
    assert desk.requests(Operation.REGISTER_STACK) == before + 1


def test_an_unavailable_organisation_is_waited_for(desk: Desk) -> None:
    desk.buildkite.set_available(available=False)
    with pytest.raises(UnknownOutcomeError, match="503"):
        desk.client.list_scheduled(QUEUE)


@pytest.mark.parametrize("state", ["1", "null", "[]", '{"a": 1}'])
def test_a_state_that_cannot_be_read_is_said_of_its_job_alone(stack: ExitStack, state: str) -> None:
    """Left out it would count as a job that Buildkite does not name, and several such answers end a run."""
    body = b'{"states": {"a": %s, "b": "running"}}' % state.encode()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    desk = a_desk(stack, http=stack.enter_context(httpx.Client(transport=transport)))
    states = desk.client.job_states(QUEUE, [JobId("a"), JobId("b")])
    assert (states.errors, states.states) == ((), {"a": JobState.UNRECOGNISED, "b": JobState.RUNNING})


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"null", b'{"jobs": 1}', b'{"jobs": [', b"\xff\xfe", b'{"states": [{"a": 1}]}']
)
def test_an_answer_that_cannot_be_read_says_nothing_about_jobs(stack: ExitStack, body: bytes) -> None:
    """A 2xx of nonsense is no empty list: an empty list would end every run."""
    desk = a_desk(
        stack,
        http=stack.enter_context(
            httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=body)))
        ),
    )
    with pytest.raises(UnknownOutcomeError):
        desk.client.list_scheduled(QUEUE)
    states = desk.client.job_states(QUEUE, [JobId("a")])
    assert states.errors
    assert states.states == {}
