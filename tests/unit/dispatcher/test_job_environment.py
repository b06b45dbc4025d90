"""A job's environment may name its class: read once a job, a bounded number a cycle, and only where it may matter."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.job_environment import (
    ANSWER_TIMEOUT,
    CLASS_VARIABLE,
    JOBS_PER_CYCLE,
    READERS,
    ReadJobEnvironment,
)
from agent_stack.domain.errors import RetryError
from agent_stack.domain.identifiers import JobId, QueueKey
from agent_stack.domain.jobs import Job
from agent_stack.ports import JobDetails
from tests.contract.stacks import QUEUE, Desk, a_desk
from tests.simulator.buildkite import Operation, Step
from tests.simulator.clock import EPOCH
from tests.unit.dispatcher.parts import AtOnce, ByHand

TRIES = 4
"""Of the client, for one question."""


@contextmanager
def inspecting() -> Iterator[tuple[Desk, ReadJobEnvironment]]:
    with ExitStack() as stack:
        desk = a_desk(stack).registered()
        yield desk, ReadJobEnvironment(stacks=desk.client, workers=AtOnce(), telemetry=desk.telemetry)


def a_tick(desk: Desk, **found: Any) -> DispatcherCycle:  # noqa: ANN401  (the cycle's own fields)
    listed = desk.client.list_scheduled(QUEUE).jobs
    return DispatcherCycle(**{"now": EPOCH, "fence": 1, "listed": listed, **found})


def classes(listed: tuple[Job, ...]) -> list[str]:
    return [rule for job in listed for rule in job.rules if rule.startswith("class=")]


def test_the_environment_chooses_where_no_rule_does() -> None:
    with inspecting() as (desk, inspect):
        desk.push(Step(env={CLASS_VARIABLE: " large "}), Step(agents=["class=small"], env={CLASS_VARIABLE: "large"}))
        assert classes(inspect(a_tick(desk)).listed) == ["class=large", "class=small"]
        assert desk.requests(Operation.GET_JOB) == 1


def test_a_job_is_read_once() -> None:
    with inspecting() as (desk, inspect):
        desk.push(Step(env={CLASS_VARIABLE: "large"}), Step())
        for _ in range(3):
            assert len(inspect(a_tick(desk)).listed) == 2
        assert desk.requests(Operation.GET_JOB) == 2


def test_so_many_are_read_a_tick_and_the_others_wait_for_the_next() -> None:
    with inspecting() as (desk, inspect):
        desk.push(*[Step()] * (JOBS_PER_CYCLE + 3))
        assert len(inspect(a_tick(desk)).listed) == JOBS_PER_CYCLE
        assert desk.requests(Operation.GET_JOB) == JOBS_PER_CYCLE
        assert len(inspect(a_tick(desk)).listed) == JOBS_PER_CYCLE + 3


def test_a_job_that_cannot_be_read_waits_and_is_asked_about_again_later_and_later() -> None:
    with inspecting() as (desk, inspect):
        desk.push(Step(env={CLASS_VARIABLE: "large"}))
        desk.buildkite.faults.fail(Operation.GET_JOB, times=3 * TRIES, status=500)
        asked: list[int] = []
        listed: tuple[Job, ...] = ()
        for seconds in range(30):
            listed = inspect(a_tick(desk, now=EPOCH + timedelta(seconds=seconds))).listed
            asked.append(desk.requests(Operation.GET_JOB))
        assert [asked.index(tries * TRIES) for tries in (1, 2, 3)] == [0, 2, 6]
        assert classes(listed) == ["class=large"]
        assert desk.telemetry.messages("INFO").count("job_environment_not_read") == 1


def test_jobs_that_cannot_be_read_delay_no_other() -> None:
    with inspecting() as (desk, _):
        unreadable = desk.push(*[Step()] * JOBS_PER_CYCLE)
        (readable,) = desk.push(Step(env={CLASS_VARIABLE: "large"}))
        details = desk.client.job_details

        def answer(queue: QueueKey, job_id: JobId) -> JobDetails:
            if job_id in unreadable:
                raise RetryError("no answer")
            return details(queue, job_id)

        stacks: Any = SimpleNamespace(job_details=answer)
        step = ReadJobEnvironment(stacks=stacks, workers=AtOnce(), telemetry=desk.telemetry)
        assert step(a_tick(desk)).listed == ()
        later = step(a_tick(desk, now=EPOCH + timedelta(minutes=5))).listed
        assert [job.job_id for job in later] == [readable]


def test_details_that_are_long_under_way_hold_up_no_cycle_and_are_asked_for_once() -> None:
    with inspecting() as (desk, _):
        desk.push(*[Step(env={CLASS_VARIABLE: "large"})] * 10)
        (named,) = desk.push(Step(agents=["class=small"]))
        workers = ByHand()
        inspect = ReadJobEnvironment(stacks=desk.client, workers=workers, telemetry=desk.telemetry)
        for _ in range(3):
            assert [job.job_id for job in inspect(a_tick(desk)).listed] == [named]
        assert len(workers.submitted) == READERS
        assert set(workers.waited) == {ANSWER_TIMEOUT}
        workers.perform()
        assert len(inspect(a_tick(desk)).listed) == 11
        assert desk.requests(Operation.GET_JOB) == 10


def test_any_class_leaves_it_to_the_environment() -> None:
    with inspecting() as (desk, inspect):
        desk.push(Step(agents=["class=*"], env={CLASS_VARIABLE: "large"}))
        assert classes(inspect(a_tick(desk)).listed) == ["class=*", "class=large"]


def test_jobs_of_a_paused_queue_are_not_read() -> None:
    with inspecting() as (desk, inspect):
        desk.push(Step())
        assert len(inspect(a_tick(desk, paused=frozenset({QUEUE}))).listed) == 1
        assert desk.requests(Operation.GET_JOB) == 0


def test_what_is_no_longer_listed_is_forgotten() -> None:
    with inspecting() as (desk, inspect):
        (job_id,) = desk.push(Step())
        inspect(a_tick(desk))
        inspect(a_tick(desk, listed=()))
        inspect(a_tick(desk))
        assert desk.requests(Operation.GET_JOB) == 2
        assert job_id
