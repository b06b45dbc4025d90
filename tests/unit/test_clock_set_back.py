"""A clock that is set back an hour silences nothing that a process does now and then."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.empty_ledger import EmptyLedgerCache
from agent_stack.dispatcher.job_environment import ReadJobEnvironment
from agent_stack.dispatcher.poll import Poll
from agent_stack.dispatcher.publish_wait_reasons import PublishWaitReasons
from agent_stack.dispatcher.token_supply import TokenSupply
from agent_stack.domain.errors import RetryError
from agent_stack.domain.identifiers import ClassName, InstanceId, JobId, QueueKey, StackKey
from agent_stack.domain.jobs import Queue, ScheduledPage
from agent_stack.domain.states import VmState
from agent_stack.domain.waiting import Waiting, WaitReason
from agent_stack.tracker.cycle import TrackerCycle
from agent_stack.tracker.event_filter import EventFilter
from agent_stack.tracker.notify_waiting import NotifyWaiting
from agent_stack.tracker.status_checks import StatusChecks
from tests.contract.stacks import OTHER, QUEUE, a_desk
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.memory import Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import AtOnce, WatchedLedger, a_book, a_capacity, a_vcpu_cache
from tests.unit.dispatcher.test_register import Withdrawals, register
from tests.unit.tracker.test_orphan_cleanup import FLEET, LATER, launched, world
from tests.unit.values import a_job, a_policy, a_run, a_vm, job_id

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
LONGEST = 130
"""Seconds: the longest of their pauses is two minutes."""

Acts = Callable[[datetime], int]
"""Lets the object work once at that time; how often it has acted in all."""


def notify_waiting(_: ExitStack) -> Acts:
    ledger = WatchedLedger(store=Store())
    step = NotifyWaiting(ledger=ledger, policy=a_policy(), telemetry=RecordedTelemetry())

    def act(now: datetime) -> int:
        step(TrackerCycle(now=now))
        return ledger.journal.count("waiting")

    return act


def status_checks(_: ExitStack) -> Acts:
    asked: list[int] = []

    def impaired() -> frozenset[InstanceId]:
        asked.append(1)
        return frozenset()

    fleet: Any = SimpleNamespace(impaired=impaired)
    checks, vm = (
        StatusChecks(fleet=fleet, telemetry=RecordedTelemetry()),
        a_vm(state=VmState.RUNNING, launched_at=EPOCH - HOUR),
    )

    def act(now: datetime) -> int:
        checks.looked_at([vm], [], now)
        return len(asked)

    return act


def orphan_cleanup(_: ExitStack) -> Acts:
    it = world(strays=FLEET, bound=0)

    def act(now: datetime) -> int:
        it.sweep(replace(it.cycle, now=LATER + (now - EPOCH)))
        return it.telemetry.messages("ERROR").count("orphan_cleanup_limited")

    return act


def register_again(_: ExitStack) -> Acts:
    class OneFails(Withdrawals):
        tries = 0

        def register(self, queue: QueueKey) -> None:
            if queue == OTHER:
                self.tries += 1
                raise RetryError("no answer")

    with ExitStack() as stack:
        stacks = OneFails(down=False)
        step = register(a_desk(stack), QUEUE, OTHER, stacks=stacks)

    def act(now: datetime) -> int:
        step(DispatcherCycle(now=now, fence=1))
        return stacks.tries

    return act


def withdraw_again(_: ExitStack) -> Acts:
    class Refuses(Withdrawals):
        tries = 0

        def withdraw(self, stack_key: StackKey) -> None:
            self.tries += 1
            raise RetryError("no answer")

    store, stacks = Store(), Refuses(down=True)
    with ExitStack() as stack:
        register(a_desk(stack), QUEUE, OTHER, stacks=stacks, store=store)(DispatcherCycle(now=EPOCH, fence=1))
        step = register(a_desk(stack), QUEUE, stacks=stacks, store=store)

    def act(now: datetime) -> int:
        step(DispatcherCycle(now=now, fence=1))
        return stacks.tries

    return act


class EndlessQueues:
    """Each page of a queue has another one behind it."""

    def __init__(self) -> None:
        self.behind: Counter[QueueKey] = Counter()
        """Pages behind the first that were read."""

    def list_scheduled(self, queue: QueueKey, *, cursor: str | None = None) -> ScheduledPage:
        """See the port."""
        self.behind[queue] += cursor is not None
        return ScheduledPage(jobs=(), paused=False, next_cursor="next", pageable=True, more=True)


def polling(queues: EndlessQueues, *names: str, **policy: object) -> Poll:
    stacks: Any = queues
    served = tuple(Queue(key=QueueKey(name), stack_key=StackKey("")) for name in names)
    return Poll(
        stacks=stacks, queues=served, policy=a_policy(**policy), clock=VirtualClock(), telemetry=RecordedTelemetry()
    )


def poll(_: ExitStack) -> Acts:
    queues = EndlessQueues()
    step = polling(queues, "default", launch_enabled=False)

    def act(now: datetime) -> int:
        step(DispatcherCycle(now=now, fence=1, book=a_book()))
        return queues.behind.total()

    return act


def job_environment(_: ExitStack) -> Acts:
    asked: list[JobId] = []

    def job_details(queue: QueueKey, job_id: JobId) -> object:
        asked.append(job_id)
        raise RetryError("no answer")

    stacks: Any = SimpleNamespace(job_details=job_details)
    step = ReadJobEnvironment(stacks=stacks, workers=AtOnce(), telemetry=RecordedTelemetry())

    def act(now: datetime) -> int:
        step(DispatcherCycle(now=now, fence=1, listed=(a_job(rules=()),)))
        return len(asked)

    return act


def token_supply(_: ExitStack) -> Acts:
    supply, asked = TokenSupply(), []

    def act(now: datetime) -> int:
        if not supply.down(now):
            asked.append(now)
            supply.asked(issued=0, now=now)
        return len(asked)

    return act


def empty_ledger(_: ExitStack) -> Acts:
    cache, read = EmptyLedgerCache(), []

    def act(now: datetime) -> int:
        if not cache.is_valid(1, now):
            read.append(now)
            cache.mark_empty(1, now)
        return len(read)

    return act


def vcpu_cache(_: ExitStack) -> Acts:
    asked: list[object] = []

    def vcpus(types: object) -> object:
        asked.append(types)
        raise RetryError("throttled")

    types: Any = SimpleNamespace(vcpus=vcpus)
    cache = a_vcpu_cache(types)

    def act(now: datetime) -> int:
        cache.want(["m7i.large"], now)
        return len(asked)

    return act


def publish_wait_reasons(_: ExitStack) -> Acts:
    ledger = WatchedLedger(store=Store())
    step = PublishWaitReasons(
        capacity=a_capacity(ledger=ledger),
        vcpus=a_vcpu_cache(),
        ledger=ledger,
        workers=AtOnce(),
        policy=a_policy(),
        telemetry=RecordedTelemetry(),
    )
    waiting = Waiting(job_id=job_id(1), queue_key=QUEUE, class_name=ClassName("small"), reason=WaitReason.MAX_INSTANCES)

    def act(now: datetime) -> int:
        step(DispatcherCycle(now=now, fence=1, book=a_book(), waiting=(waiting,)))
        return ledger.journal.count("list_waiting")

    return act


CASES = (
    notify_waiting,
    status_checks,
    orphan_cleanup,
    register_again,
    withdraw_again,
    poll,
    job_environment,
    token_supply,
    empty_ledger,
    vcpu_cache,
    publish_wait_reasons,
)


@pytest.mark.parametrize("case", CASES)
def test_what_is_done_now_and_then_is_done_after_the_clock_was_set_back(case: Callable[[ExitStack], Acts]) -> None:
    with ExitStack() as stack:
        act = case(stack)
        acted = max(act(EPOCH + HOUR + seconds * SECOND) for seconds in range(5))
        assert acted > 0
        after = [act(EPOCH + seconds * SECOND) for seconds in range(LONGEST)]
        assert after[-1] > acted


def test_a_vm_is_surplus_some_seconds_after_the_clock_was_set_back_and_not_at_once() -> None:
    it = launched(world(strays=1, bound=0))

    def surplus(now: datetime) -> int:
        return len(it.sweep.surplus_vms(replace(it.cycle, now=now), frozenset()))

    assert surplus(LATER + HOUR) == 0
    found = [surplus(LATER + seconds * SECOND) for seconds in range(20)]
    assert (found[0], found[-1]) == (0, 1)


def test_each_queue_has_its_turn_after_the_clock_was_set_back() -> None:
    queues = EndlessQueues()
    step = polling(queues, "first", "second", "third")
    step(DispatcherCycle(now=EPOCH + HOUR, fence=1, book=a_book()))
    assert len(+queues.behind) == 2, "one cycle has no time for all"
    queues.behind.clear()
    for seconds in range(3):
        step(DispatcherCycle(now=EPOCH + seconds * SECOND, fence=1, book=a_book()))
    assert len(+queues.behind) == 3


def test_the_event_filter_reads_the_ledger_after_the_clock_was_set_back() -> None:
    clock, ledger = VirtualClock(), WatchedLedger(store=Store())
    events = EventFilter(ledger=ledger, clock=clock, telemetry=RecordedTelemetry())
    foreign = [frozenset({"i-0fffffffffffffff0"})]
    events.mentions_ours(foreign)
    clock.set_back(HOUR)
    clock.sleep(60 * SECOND)
    ledger.store.runs[a_run().job_id] = a_run()
    assert events.mentions_ours([frozenset({a_run().job_id})])
