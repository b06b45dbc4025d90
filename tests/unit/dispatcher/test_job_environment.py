"""A job's environment may name its class: read once a job, a bounded number a cycle, and only where it may matter."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.job_environment import CLASS_VARIABLE, JOBS_PER_CYCLE, ReadJobEnvironment
from agent_stack.domain.jobs import Job
from tests.contract.stacks import QUEUE, Desk, a_desk
from tests.simulator.buildkite import Operation, Step
from tests.simulator.clock import EPOCH


@contextmanager
def inspecting() -> Iterator[tuple[Desk, ReadJobEnvironment]]:
    with ExitStack() as stack:
        desk = a_desk(stack).registered()
        yield desk, ReadJobEnvironment(stacks=desk.client, telemetry=desk.telemetry)


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


def test_a_job_that_cannot_be_read_waits_and_is_asked_about_again() -> None:
    with inspecting() as (desk, inspect):
        desk.push(Step(env={CLASS_VARIABLE: "large"}))
        desk.buildkite.faults.fail(Operation.GET_JOB, times=4, status=500)
        assert inspect(a_tick(desk)).listed == ()
        assert classes(inspect(a_tick(desk)).listed) == ["class=large"]


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
