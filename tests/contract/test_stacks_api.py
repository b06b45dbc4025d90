"""Every operation of the Stacks API in both dialects: the real client against the simulated Buildkite."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest

from agent_stack.adapters.stacks_api.client import MAX_NEW_STATES
from agent_stack.domain.errors import ConfigurationError, GiveUpError, NotFoundError, WaitError
from agent_stack.domain.identifiers import JobId
from agent_stack.domain.states import JobState
from agent_stack.ports import Notification
from tests.contract.stacks import LEASE, OTHER, QUEUE, Carrier, Desk, a_desk, in_process, over_http
from tests.simulator.buildkite import Dialect, Limits, Operation, Settings, Step

EVERY_WAY = [
    pytest.param((dialect, carrier), id=f"{dialect}, {carrier.__name__.replace('_', ' ')}")
    for dialect in Dialect
    for carrier in (in_process, over_http)
]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture(name="desk", params=EVERY_WAY)
def _desk(request: pytest.FixtureRequest, stack: ExitStack) -> Desk:
    served, carrier = request.param
    return _made(stack, served, carrier)


def _made(stack: ExitStack, served: Dialect, carrier: Carrier) -> Desk:
    return a_desk(stack, served=served, carrier=carrier).registered()


@pytest.fixture
def current(stack: ExitStack) -> Desk:
    return _made(stack, Dialect.CURRENT, over_http)


def is_current(desk: Desk) -> bool:
    return desk.client.dialect(QUEUE) == "current"


def test_registering_tells_who_we_are_and_may_be_repeated(desk: Desk) -> None:
    desk.registered()
    (stack,) = desk.buildkite.stacks()
    assert (stack.key, stack.queue_key, stack.type) == ("stack-default", "default", "custom")
    assert stack.metadata == {"version": "1", "region": "eu-central-1"}
    assert desk.buildkite.violations() == ()


def test_each_queue_is_registered_under_a_key_of_its_own(desk: Desk) -> None:
    desk.registered(QUEUE, OTHER)
    assert {stack.key: stack.queue_key for stack in desk.buildkite.stacks()} == {
        "stack-default": "default",
        "stack-linux-arm": "linux.arm",
    }
    (job_id,) = desk.push(Step(queue="linux.arm"))
    assert [job.job_id for job in desk.client.list_scheduled(OTHER).jobs] == [job_id]
    assert desk.client.list_scheduled(QUEUE).jobs == ()


def test_deregistering_withdraws_the_key_and_an_unknown_one_is_no_error(desk: Desk) -> None:
    desk.client.deregister(QUEUE)
    desk.client.deregister(QUEUE)
    assert desk.buildkite.stacks() == ()


def test_a_listing_shows_jobs_as_their_pipeline_wrote_them(desk: Desk) -> None:
    (job_id,) = desk.push(Step(key="build", agents=["class=large"], priority=7))
    (job,) = desk.client.list_scheduled(QUEUE).jobs
    assert (job.job_id, job.queue_key, job.priority, job.step_key) == (job_id, QUEUE, 7, "build")
    assert job.rules == ("class=large",)
    assert (job.pipeline_slug, job.build_number) == ("pipeline", 1)


def test_a_listing_keeps_the_queue_connected_and_tells_of_a_pause(desk: Desk) -> None:
    desk.buildkite.pause_queue("default")
    assert desk.client.list_scheduled(QUEUE).paused
    assert desk.buildkite.queue_status("default") == "Connected"
    desk.clock.sleep(timedelta(minutes=6))
    assert desk.buildkite.queue_status("default") == "Disconnected"


def test_pages_follow_each_other_where_the_dialect_has_pages(desk: Desk) -> None:
    pushed = desk.push(*(Step(key=f"s{n}") for n in range(1_001)))
    page = desk.client.list_scheduled(QUEUE)
    assert len(page.jobs) == 1_000
    assert page.pageable == is_current(desk)
    if not is_current(desk):
        assert page.next_cursor is None
        return
    last = desk.client.list_scheduled(QUEUE, cursor=page.next_cursor)
    assert [job.job_id for job in (*page.jobs, *last.jobs)] == pushed
    assert last.next_cursor is None


def test_jobs_that_arrive_between_pages_are_neither_lost_nor_doubled(current: Desk) -> None:
    first = current.push(*(Step() for _ in range(1_500)))
    page = current.client.list_scheduled(QUEUE)
    current.clock.sleep(timedelta(seconds=1))
    later = current.push(Step())
    rest = current.client.list_scheduled(QUEUE, cursor=page.next_cursor)
    assert [job.job_id for job in (*page.jobs, *rest.jobs)] == [*first, *later]


def test_reserved_jobs_leave_the_list_until_the_reservation_ends(desk: Desk) -> None:
    job_ids = desk.push(Step(), Step())
    answer = desk.client.reserve(QUEUE, job_ids, LEASE)
    assert (answer.reserved, answer.not_reserved, answer.errors) == (frozenset(job_ids), frozenset(), ())
    assert desk.client.list_scheduled(QUEUE).jobs == ()
    desk.clock.sleep(LEASE)
    assert len(desk.client.list_scheduled(QUEUE).jobs) == 2


def test_reserving_again_under_the_same_key_extends(desk: Desk) -> None:
    (job_id,) = desk.reserved()
    desk.clock.sleep(LEASE / 2)
    assert desk.client.reserve(QUEUE, [job_id], LEASE).reserved == {job_id}
    desk.clock.sleep(LEASE * 0.9)
    assert desk.client.job_states(QUEUE, [job_id]).states == {job_id: JobState.RESERVED}


def test_what_cannot_be_reserved_is_told_apart(desk: Desk) -> None:
    ours, gone = desk.push(Step(), Step())
    unknown = JobId("0190d2f8-0000-4000-8000-00000000dead")
    desk.buildkite.cancel_job(gone)
    answer = desk.client.reserve(QUEUE, [ours, gone, unknown], LEASE)
    assert (answer.reserved, answer.not_reserved) == (frozenset({ours}), frozenset({gone, unknown}))


def test_two_stacks_cannot_hold_one_job(desk: Desk) -> None:
    desk.registered(QUEUE, OTHER)
    (job_id,) = desk.reserved()
    assert desk.client.reserve(OTHER, [job_id], LEASE).not_reserved == {job_id}


def test_states_are_told_for_all_known_jobs(desk: Desk) -> None:
    scheduled, reserved, cancelled = desk.push(Step(), Step(), Step())
    desk.client.reserve(QUEUE, [reserved], LEASE)
    desk.buildkite.cancel_job(cancelled)
    unknown = JobId("0190d2f8-0000-4000-8000-00000000dead")
    assert desk.client.job_states(QUEUE, [scheduled, reserved, cancelled, unknown]).states == {
        scheduled: JobState.SCHEDULED,
        reserved: JobState.RESERVED,
        cancelled: JobState.CANCELED,
    }


def test_a_state_of_the_future_is_inert_and_said(desk: Desk) -> None:
    (job_id,) = desk.push(Step())
    desk.buildkite.disguise(job_id, "hibernating")
    assert desk.client.job_states(QUEUE, [job_id]).states == {job_id: JobState.UNRECOGNISED}
    assert "job_state_unrecognised" in desk.telemetry.messages("INFO")


def test_a_state_of_the_future_is_one_line_however_many_jobs_and_answers_name_it(desk: Desk) -> None:
    jobs = desk.push(*[Step()] * 50)
    for job_id in jobs:
        desk.buildkite.disguise(job_id, "hibernating")
    for _ in range(3):
        assert set(desk.client.job_states(QUEUE, jobs).states.values()) == {JobState.UNRECOGNISED}
    desk.buildkite.disguise(jobs[0], "dreaming")
    desk.client.job_states(QUEUE, jobs)
    said = [fields["state"] for _, message, fields in desk.telemetry.records if message == "job_state_unrecognised"]
    assert said == ["hibernating", "dreaming"]


def test_states_that_are_new_with_every_answer_fill_no_log(desk: Desk) -> None:
    (job_id,) = desk.push(Step())
    for number in range(2 * MAX_NEW_STATES):
        desk.buildkite.disguise(job_id, f"state-{number}")
        desk.client.job_states(QUEUE, [job_id])
    assert desk.telemetry.messages("INFO").count("job_state_unrecognised") == MAX_NEW_STATES


def test_one_jobs_environment_and_command_can_be_read(desk: Desk) -> None:
    (job_id,) = desk.push(Step(command="make test", env={"AGENT_STACK_EC2_CLASS": "large"}))
    details = desk.client.job_details(QUEUE, job_id)
    assert (details.command, details.env["AGENT_STACK_EC2_CLASS"]) == ("make test", "large")
    with pytest.raises(NotFoundError):
        desk.client.job_details(QUEUE, JobId("0190d2f8-0000-4000-8000-00000000dead"))


def test_a_job_is_finished_once_with_its_exit_status_and_reason(desk: Desk) -> None:
    (job_id,) = desk.reserved()
    desk.client.finish(QUEUE, job_id, exit_status=-1, detail="no class fits")
    job = desk.buildkite.job(job_id)
    assert (job.state, job.exit_status, job.end_detail) == ("finished", -1, "no class fits")
    with pytest.raises(GiveUpError):
        desk.client.finish(QUEUE, job_id, exit_status=-1, detail="again")


def test_what_looks_like_a_credential_reaches_no_build_page(desk: Desk) -> None:
    one, two = desk.reserved(Step(), Step())
    said = "The security token included is invalid:\nAuthorization: Bearer abcdefgh12345678 and bkjat_abc.def-1"
    desk.client.finish(QUEUE, one, exit_status=-1, detail=said)
    desk.client.notify(QUEUE, [Notification(job_id=two, text=said, at=desk.clock.now())])
    hidden = "The security token included is invalid:\nAuthorization: <hidden> and <hidden>"
    assert desk.buildkite.job(one).end_detail == hidden
    assert [n.detail for n in desk.buildkite.job(two).notifications] == [hidden]


def test_exit_status_zero_is_sent_as_zero(desk: Desk) -> None:
    (job_id,) = desk.reserved()
    desk.client.finish(QUEUE, job_id, exit_status=0, detail="nothing to do")
    assert desk.buildkite.job(job_id).exit_status == 0


def test_a_detail_is_cropped_by_bytes_between_characters(desk: Desk) -> None:
    (job_id,) = desk.reserved()
    desk.client.finish(QUEUE, job_id, exit_status=-1, detail="…é𝄞" * 2_000)
    detail = desk.buildkite.job(job_id).end_detail
    assert detail is not None
    assert 4_080 < len(detail.encode()) <= 4_096
    assert "\ufffd" not in detail
    assert desk.buildkite.violations() == ()


def test_notifications_reach_the_build_page(desk: Desk) -> None:
    one, two = desk.reserved(Step(), Step())
    now = desk.clock.now()
    untold = desk.client.notify(
        QUEUE,
        [Notification(job_id=one, text="starting", at=now), Notification(job_id=two, text="𝄞" * 400, at=now)],
    )
    assert untold == {}
    assert [n.detail for n in desk.buildkite.job(one).notifications] == ["starting"]
    assert len(desk.buildkite.job(two).notifications[0].detail) == 255
    assert desk.buildkite.violations() == ()


def test_a_notification_that_is_refused_costs_no_other(desk: Desk) -> None:
    (job_id,) = desk.reserved()
    unknown = JobId("0190d2f8-0000-4000-8000-00000000dead")
    now = desk.clock.now()
    notes = [Notification(job_id=i, text="hello", at=now) for i in (unknown, job_id)]
    assert set(desk.client.notify(QUEUE, notes)) == {unknown}
    assert len(desk.buildkite.job(job_id).notifications) == 1


def test_acquisition_tokens_are_issued_for_what_we_hold(current: Desk) -> None:
    (ours,) = current.reserved()
    (not_ours,) = current.push(Step())
    answer = current.client.issue_tokens(QUEUE, [ours, not_ours], LEASE)
    assert set(answer.tokens) == {ours}
    assert answer.not_issued == {not_ours}
    assert answer.tokens[ours] not in repr(answer) + current.said()


def test_the_token_says_what_it_stands_for(desk: Desk) -> None:
    identity = desk.client.token_identity()
    if not is_current(desk):
        assert identity is None
        return
    assert identity is not None
    assert (identity.organization, identity.cluster, identity.queue) == ("simulated", "Simulated cluster", None)


def test_the_dialect_is_learnt_by_listing_and_kept(desk: Desk) -> None:
    listings = desk.requests(Operation.LIST_SCHEDULED_JOBS)
    desk.client.list_scheduled(QUEUE)
    desk.client.list_scheduled(QUEUE)
    assert desk.requests(Operation.LIST_SCHEDULED_JOBS) == listings + 2
    assert desk.telemetry.messages().count("api_version_detected") == 1


def test_an_error_teaches_no_dialect(stack: ExitStack) -> None:
    desk = a_desk(stack, served=Dialect.CURRENT)
    desk.buildkite.faults.fail(Operation.LIST_SCHEDULED_JOBS, status=500, times=4)
    with pytest.raises(Exception, match="500"):
        desk.registered()
    desk.registered()
    assert is_current(desk)


def test_a_queue_that_neither_path_knows_is_named_with_its_stack_key(stack: ExitStack) -> None:
    desk = a_desk(stack)
    desk.buildkite.faults.fail(Operation.LIST_SCHEDULED_JOBS, status=404)
    with pytest.raises(ConfigurationError) as raised:
        desk.client.register(OTHER)
    assert raised.value.setting == "Queues, StackKey"
    assert "linux.arm, stack-linux-arm" in str(raised.value)


def test_job_tokens_asked_of_a_preview_service_name_the_setting_to_change(stack: ExitStack) -> None:
    desk = a_desk(stack, served=Dialect.PREVIEW, job_tokens=True)
    with pytest.raises(ConfigurationError, match="Set AgentCredential to agent-token"):
        desk.registered()


def test_too_many_stacks_is_for_the_operator(stack: ExitStack) -> None:
    desk = a_desk(stack, settings=Settings(limits=Limits(stack_quota=0)))
    with pytest.raises(WaitError, match="Remove stacks that are no longer used"):
        desk.registered()


def test_a_strange_job_id_cannot_climb_the_path(desk: Desk) -> None:
    with pytest.raises(GiveUpError):
        desk.client.job_details(QUEUE, JobId("../../token"))
    assert not [v for v in desk.buildkite.violations() if "percent" in v.rule]
    assert "/jobs/" in desk.buildkite.access_log()[-1].path, "the request is about a job still"
