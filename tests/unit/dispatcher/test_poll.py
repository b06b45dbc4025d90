"""How much of each queue is read, and what a queue that cannot be read means."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent_stack.adapters.stacks_api import Dialect as Spoken
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.poll import MAX_FURTHER_PAGES, MAX_PAGES, REFRESH, REST, Poll
from agent_stack.domain.classes import ClassBook, VmClass
from agent_stack.domain.identifiers import ClassName, JobId, QueueKey, StackKey
from agent_stack.domain.jobs import Queue, ScheduledPage
from tests.contract.stacks import OTHER, QUEUE, Desk, a_desk
from tests.simulator.buildkite import Dialect, Operation, Step
from tests.simulator.clock import EPOCH
from tests.unit.values import a_policy, a_run

PAGE = 1_000
NAME = ClassName("default")
BOOK = ClassBook(
    classes={NAME: VmClass(name=NAME, instance_types=("m7i.large",), image="ami-0123456789abcdef0")}, default=NAME
)


@contextmanager
def polling(*, max_instances: int = 100, served: Dialect = Dialect.CURRENT) -> Iterator[tuple[Desk, Poll]]:
    with ExitStack() as stack:
        spoken = Spoken(served.value)
        desk = a_desk(stack, served=served, dialect=spoken).registered(QUEUE, OTHER)
        yield (
            desk,
            Poll(
                stacks=desk.client,
                queues=tuple(Queue(key=queue, stack_key=StackKey("")) for queue in (QUEUE, OTHER)),
                policy=a_policy(max_instances=max_instances),
                clock=desk.clock,
                telemetry=desk.telemetry,
            ),
        )


def a_tick(**found: Any) -> DispatcherCycle:  # noqa: ANN401  (the cycle's own fields)
    return DispatcherCycle(**{"now": EPOCH, "fence": 1, "book": BOOK, **found})


def pages(desk: Desk) -> int:
    return desk.requests(Operation.LIST_SCHEDULED_JOBS)


def test_all_pages_are_read_where_something_can_start_because_the_last_job_may_be_urgent() -> None:
    with polling() as (desk, poll):
        desk.push(*[Step()] * (2 * PAGE))
        (urgent,) = desk.push(Step(priority=10))
        assert urgent in {job.job_id for job in poll(a_tick()).listed}
        assert pages(desk) == 4


def test_while_nothing_can_start_the_pages_behind_the_first_are_read_now_and_then_and_remembered() -> None:
    with polling(max_instances=1) as (desk, poll):
        desk.push(*[Step()] * (PAGE + 5))
        for seconds in range(round(REFRESH.total_seconds())):
            cycle = poll(a_tick(active=(a_run(),), now=EPOCH + timedelta(seconds=seconds)))
            assert len(cycle.listed) == PAGE + 5
            assert pages(desk) == 3 + 2 * seconds
            desk.clock.sleep(timedelta(seconds=1))
        poll(a_tick(active=(a_run(),), now=EPOCH + REFRESH))
        assert pages(desk) == 3 + 2 * round(REFRESH.total_seconds()) + 1


def test_no_cycle_reads_more_pages_than_its_lease_has_time_for_and_the_next_begins_with_what_was_left_out() -> None:
    with polling(max_instances=100_000) as (desk, poll):
        both = [QUEUE, OTHER]
        asked: list[str] = []

        class Endless:
            def list_scheduled(self, queue: Any, *, cursor: str | None = None) -> ScheduledPage:  # noqa: ANN401
                asked.append(queue)
                return ScheduledPage(jobs=(), paused=False, next_cursor="on", more=True)

        queues = (*poll.queues, Queue(key=QueueKey("third"), stack_key=StackKey("")))
        endless = Poll(stacks=Endless(), queues=queues, policy=poll.policy, clock=desk.clock, telemetry=desk.telemetry)  # type: ignore[arg-type]  # the one method it needs
        endless(a_tick())
        assert asked[3:] == [queue for queue in both for _ in range(MAX_PAGES - 1)]
        asked.clear()
        endless(a_tick(now=EPOCH + timedelta(seconds=1)))
        assert len(asked) == 3 + MAX_FURTHER_PAGES
        assert asked[3] == "third"


def test_behind_a_page_of_jobs_that_nobody_fits_are_those_that_can_start() -> None:
    with polling() as (desk, poll):
        desk.push(*[Step(agents=["gpu=true"])] * PAGE)
        (fits,) = desk.push(Step())
        assert fits in {job.job_id for job in poll(a_tick()).listed}


def test_what_is_known_already_is_not_listed_and_fills_no_page() -> None:
    with polling(max_instances=PAGE + 1) as (desk, poll):
        known = [JobId(job_id) for job_id in desk.push(*[Step()] * PAGE)]
        (fresh,) = desk.push(Step())
        active = tuple(replace(a_run(), job_id=job_id) for job_id in known)
        assert [job.job_id for job in poll(a_tick(active=active)).listed] == [fresh]


def test_a_full_deployment_goes_on_listing_so_that_the_queue_stays_connected() -> None:
    with polling(max_instances=1) as (desk, poll):
        poll(a_tick(active=(a_run(),)))
        assert pages(desk) == 2


def test_there_is_an_end_to_reading() -> None:
    with polling(max_instances=100_000) as (desk, poll):
        desk.push(*[Step()] * (MAX_PAGES * PAGE + 5))
        assert len(poll(a_tick()).listed) == MAX_PAGES * PAGE


def test_a_queue_that_cannot_be_read_starts_nothing_and_hides_no_other() -> None:
    with polling() as (desk, poll):
        (hidden,) = desk.push(Step())
        desk.buildkite.faults.fail(Operation.LIST_SCHEDULED_JOBS, times=4, status=500)
        cycle = poll(a_tick())
        assert cycle.paused == {QUEUE}
        assert hidden not in {job.job_id for job in cycle.listed}
        assert "queue_not_listed" in desk.telemetry.messages("ERROR")


def test_a_later_page_that_fails_costs_only_itself() -> None:
    with polling(max_instances=3 * PAGE) as (desk, poll):
        desk.push(*[Step()] * (2 * PAGE))
        poll(a_tick())  # what is learnt once is learnt
        answers = iter([False] + [True] * 10)
        listing = desk.client.list_scheduled

        class Failing:
            def list_scheduled(self, queue: Any, *, cursor: str | None = None) -> Any:  # noqa: ANN401
                if next(answers):
                    desk.buildkite.faults.fail(Operation.LIST_SCHEDULED_JOBS, times=4, status=500)
                return listing(queue, cursor=cursor)

        cycle = Poll(
            stacks=Failing(),  # type: ignore[arg-type]  # the one method it needs
            queues=poll.queues[:1],
            policy=poll.policy,
            clock=desk.clock,
            telemetry=desk.telemetry,
        )(a_tick())
        assert len(cycle.listed) == PAGE
        assert not cycle.paused


def test_a_paused_queue_and_a_single_page_are_told_apart() -> None:
    with polling(served=Dialect.PREVIEW) as (desk, poll):
        desk.buildkite.pause_queue("default")
        cycle = poll(a_tick())
        assert cycle.paused == {QUEUE}
        assert cycle.clogging == {QUEUE, OTHER}


def test_a_queue_that_is_gone_is_one_line_in_the_log_until_that_changes() -> None:
    with polling() as (desk, poll):
        for status in (404, 404, 404, 403, 403):
            desk.buildkite.faults.fail(Operation.LIST_SCHEDULED_JOBS, status=status)
            poll(a_tick())
        assert desk.telemetry.messages("ERROR") == ["queue_not_listed"] * 2
        poll(a_tick())
        assert "queue_listed_again" in desk.telemetry.messages("INFO")


# --- thousands of jobs that start one part after another ---


class Slow:
    """Buildkite, which takes a second for each page."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def list_scheduled(self, queue: QueueKey, *, cursor: str | None = None) -> ScheduledPage:
        self._desk.clock.sleep(timedelta(seconds=1))
        return self._desk.client.list_scheduled(queue, cursor=cursor)


def slowed(poll: Poll, desk: Desk) -> Poll:
    """The same for one queue, read slowly."""
    return replace(poll, stacks=Slow(desk), queues=poll.queues[:1])  # type: ignore[arg-type]  # the one method it needs


def test_jobs_start_from_pages_that_were_read_a_moment_ago() -> None:
    with polling() as (desk, poll):
        jobs = desk.push(*[Step()] * (PAGE + 5))
        slow = slowed(poll, desk)
        assert len(slow(a_tick()).listed) == PAGE + 5
        before = pages(desk)
        cycle = slow(a_tick(now=EPOCH + timedelta(seconds=2), begun_before=frozenset()))
        assert [job.job_id for job in cycle.listed] == jobs
        assert pages(desk) == before + 1


def test_a_job_that_a_cycle_began_is_on_no_remembered_page_whatever_became_of_it() -> None:
    """Otherwise a job that Buildkite did not reserve would be begun again and again."""
    with polling() as (desk, poll):
        jobs = desk.push(*[Step()] * (PAGE + 5))
        slow = slowed(poll, desk)
        slow(a_tick())
        cycle = slow(a_tick(now=EPOCH + timedelta(seconds=2), begun_before=frozenset(jobs[-2:])))
        assert [job.job_id for job in cycle.listed] == jobs[:-2]
        cycle = slow(a_tick(now=EPOCH + timedelta(seconds=4), begun_before=frozenset()))
        assert [job.job_id for job in cycle.listed] == jobs[:-2]


@pytest.mark.parametrize(
    ("found", "reads"),
    [
        ({"now": EPOCH + timedelta(seconds=REST - 1), "begun_before": frozenset()}, 1),
        ({"now": EPOCH + timedelta(seconds=REST), "begun_before": frozenset()}, 2),
        ({"now": EPOCH + timedelta(seconds=1), "begun_before": None}, 2),  # what the cycle before began is not known
    ],
)
def test_all_pages_are_read_again_after_twelve_times_as_long_as_that_took(found: dict[str, Any], reads: int) -> None:
    with polling() as (desk, poll):
        desk.push(*[Step()] * (PAGE + 5))
        slow = slowed(poll, desk)
        slow(a_tick())
        before = pages(desk)
        slow(a_tick(**found))
        assert pages(desk) == before + reads


def test_an_urgent_job_behind_thousands_is_seen_after_thirty_seconds_at_the_latest() -> None:
    with polling(max_instances=100_000) as (desk, poll):
        desk.push(*[Step()] * (5 * PAGE))
        slow = slowed(poll, desk)
        slow(a_tick())  # takes four seconds behind the first page
        (urgent,) = desk.push(Step(priority=10))
        for seconds, seen in ((29, False), (30, True)):
            cycle = slow(a_tick(now=EPOCH + timedelta(seconds=seconds), begun_before=frozenset()))
            assert (urgent in {job.job_id for job in cycle.listed}) is seen
