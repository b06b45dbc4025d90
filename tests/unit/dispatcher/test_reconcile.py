"""One process's cycles: what each leaves to the next, and when that is forgotten."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from agent_stack.dispatcher.chain import warm_up_of
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.reconcile import ReconcileQueues
from agent_stack.domain.errors import RetryError
from agent_stack.domain.identifiers import JobId, QueueKey
from tests.simulator.clock import EPOCH, VirtualClock
from tests.unit.dispatcher.parts import SMALL
from tests.unit.dispatcher.ward import Ward
from tests.unit.values import a_job, a_policy

if TYPE_CHECKING:
    from agent_stack.ports import Ports

PAUSED = frozenset({QueueKey("paused")})


class Process:
    """Cycles of which each begins as the test sees it, wants three VMs, and finds one queue paused."""

    def __init__(self) -> None:
        self.begun: list[DispatcherCycle] = []
        self.error: RetryError | None = None
        self.reconcile = ReconcileQueues(steps=(self._begin, self._fail, self._end), clock=VirtualClock())

    def _begin(self, cycle: DispatcherCycle) -> DispatcherCycle:
        self.begun.append(cycle)
        return cycle

    def _fail(self, cycle: DispatcherCycle) -> DispatcherCycle:
        if self.error is not None:
            raise self.error
        return cycle

    def _end(self, cycle: DispatcherCycle) -> DispatcherCycle:
        return replace(cycle, wanted_launches=3, paused=PAUSED)

    def fails(self) -> None:
        """One more cycle, of which a step fails."""
        self.error = RetryError("throttled")
        with pytest.raises(RetryError):
            self.reconcile(EPOCH, 1)
        self.error = None

    def latest(self, fence: int = 1) -> tuple[int, frozenset[QueueKey] | None]:
        """One more cycle, by what it began with: VMs it expects to launch, and queues known as paused."""
        self.reconcile(EPOCH, fence)
        return self.begun[-1].expected_launches, self.begun[-1].paused_before


def test_steps_run_in_order_each_on_what_the_one_before_left() -> None:
    def adding(count: int) -> Callable[[DispatcherCycle], DispatcherCycle]:
        return lambda cycle: replace(cycle, unconfirmed=10 * cycle.unconfirmed + count)

    process = Process()
    steps = (adding(1), adding(2), adding(3), *process.reconcile.steps)
    ReconcileQueues(steps=steps, clock=VirtualClock())(EPOCH, 1)
    assert [cycle.unconfirmed for cycle in process.begun] == [123]


def test_a_cycle_begins_with_the_time_and_the_fencing_number_that_it_is_given() -> None:
    process = Process()
    process.reconcile(EPOCH, 7)
    assert process.begun == [DispatcherCycle(now=EPOCH, fence=7)]


def test_a_cycle_knows_what_the_one_before_wanted_and_which_queues_were_paused() -> None:
    process = Process()
    assert process.latest() == (0, None)
    assert process.latest() == (3, PAUSED)


def test_which_queues_are_paused_is_not_known_under_a_new_lease() -> None:
    process = Process()
    process.latest(fence=1)
    assert process.latest(fence=2) == (3, None)


def test_after_a_step_that_failed_the_next_cycle_knows_nothing() -> None:
    process = Process()
    process.latest()
    process.fails()
    assert process.latest() == (0, None)


def test_a_new_invocation_knows_nothing_of_the_one_before() -> None:
    process = Process()
    process.latest()
    process.reconcile.begin(scheduled=True)
    assert process.latest() == (0, None)


def test_an_invocation_that_was_woken_expects_to_launch_in_its_first_cycle_alone() -> None:
    process = Process()
    process.reconcile.begin(scheduled=False)
    assert process.latest() == (1, None)
    process.fails()
    assert process.latest() == (0, None)


def test_a_cycle_that_leaves_work_in_hand_says_so() -> None:
    idle = ReconcileQueues(steps=(), clock=VirtualClock())
    busy = ReconcileQueues(steps=(lambda cycle: replace(cycle, admitted=((a_job(), SMALL),)),), clock=VirtualClock())
    assert (idle(EPOCH, 1), busy(EPOCH, 1)) == (False, True)


def test_a_process_is_warmed_up_once_after_its_first_cycle_without_work() -> None:
    journal: list[str] = []
    jobs = [True, False, False]

    def step(cycle: DispatcherCycle) -> DispatcherCycle:
        journal.append("cycle")
        return replace(cycle, admitted=((a_job(), SMALL),)) if jobs.pop(0) else cycle

    reconcile = ReconcileQueues(steps=(step,), clock=VirtualClock(), warm_up=lambda: journal.append("warm up"))
    assert [reconcile(EPOCH, 1) for _ in range(3)] == [True, False, False]
    assert journal == ["cycle", "cycle", "warm up", "cycle"]


def test_a_function_that_launches_nothing_warms_nothing_up() -> None:
    ward = Ward()
    for policy in (a_policy(launch_enabled=False), a_policy(observe_only=True)):
        warm_up_of(cast("Ports", SimpleNamespace(fleet=ward.fleet)), policy)()
    assert ward.journal == []
    warm_up_of(cast("Ports", SimpleNamespace(fleet=ward.fleet)), a_policy())()
    assert ward.journal == ["warm_up"]


def test_a_cycle_knows_which_jobs_the_one_before_began_unless_it_failed_or_the_lease_is_new() -> None:
    begun: list[frozenset[JobId] | None] = []

    def step(cycle: DispatcherCycle) -> DispatcherCycle:
        begun.append(cycle.begun_before)
        return replace(cycle, admitted=((a_job(1), SMALL),), refused=((a_job(2), "why not"),))

    reconcile = ReconcileQueues(steps=(step,), clock=VirtualClock())
    for fence in (1, 1, 2):
        reconcile(EPOCH, fence)
    assert begun == [None, frozenset({a_job(1).job_id, a_job(2).job_id}), None]


def test_a_process_measures_its_cycles_and_keeps_what_it_learnt() -> None:
    clock = VirtualClock()
    rooms: list[int] = []

    def step(cycle: DispatcherCycle) -> DispatcherCycle:
        rooms.append(cycle.room)
        began = clock.monotonic()
        clock.sleep(timedelta(seconds=5))
        return replace(cycle, work_began=began, reserved=1_000)

    reconcile = ReconcileQueues(steps=(step,), clock=clock)
    reconcile(EPOCH, 1)
    reconcile.begin(scheduled=True)
    reconcile(EPOCH, 2)
    assert rooms == [1_000, 800]
