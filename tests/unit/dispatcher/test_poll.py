"""How much of each queue is read, and what a queue that cannot be read means."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from agent_stack.adapters.stacks_api import Dialect as Spoken
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.poll import MAX_PAGES, Poll
from agent_stack.domain.classes import ClassBook, VmClass
from agent_stack.domain.identifiers import ClassName, JobId, StackKey
from agent_stack.domain.jobs import Queue
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
                telemetry=desk.telemetry,
            ),
        )


def a_tick(**found: Any) -> DispatcherCycle:  # noqa: ANN401  (the cycle's own fields)
    return DispatcherCycle(**{"now": EPOCH, "fence": 1, "book": BOOK, **found})


def pages(desk: Desk) -> int:
    return desk.requests(Operation.LIST_SCHEDULED_JOBS)


def test_one_page_of_each_queue_is_enough_where_it_fills_what_is_free() -> None:
    with polling() as (desk, poll):
        desk.push(*[Step()] * (PAGE + 5))
        assert len(poll(a_tick()).listed) == PAGE
        assert pages(desk) == 2


def test_pages_are_read_until_what_is_free_can_be_filled() -> None:
    with polling(max_instances=PAGE + 1) as (desk, poll):
        desk.push(*[Step()] * (3 * PAGE))
        assert len(poll(a_tick()).listed) == 2 * PAGE


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

        cycle = Poll(stacks=Failing(), queues=poll.queues[:1], policy=poll.policy, telemetry=desk.telemetry)(a_tick())  # type: ignore[arg-type]  # the one method it needs
        assert len(cycle.listed) == PAGE
        assert not cycle.paused


def test_a_paused_queue_and_a_single_page_are_told_apart() -> None:
    with polling(served=Dialect.PREVIEW) as (desk, poll):
        desk.buildkite.pause_queue("default")
        cycle = poll(a_tick())
        assert cycle.paused == {QUEUE}
        assert cycle.clogging == {QUEUE, OTHER}
