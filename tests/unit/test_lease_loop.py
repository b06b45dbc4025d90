"""One invocation under the lease."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from agent_stack.domain.errors import ConfigurationError, RetryError
from agent_stack.lease_loop import LEASE, MAX_UNRENEWED_AGE, RESERVE, LeaseLoop
from agent_stack.ports import HeldLease
from tests.contract.tables import AnyTables
from tests.simulator.clock import VirtualClock
from tests.simulator.deployment.timeout import function_timeout

IDLE = timedelta(seconds=2)
LASTING = function_timeout()


class Ticks(list[datetime]):
    """Work that notes when it was done, and leaves none in hand."""

    def __call__(self, now: datetime, fence: int) -> bool:
        self.append(now)
        return False


class CountedDown:
    """An invocation that ends."""

    def __init__(self, clock: VirtualClock, lasting: timedelta) -> None:
        self._clock = clock
        self._ends_at = clock.now() + lasting

    def left(self) -> timedelta:
        return max(timedelta(), self._ends_at - self._clock.now())


def shift(
    tables: AnyTables,
    work: Callable[[datetime, int], bool],
    *,
    idle_pause: timedelta | None = IDLE,
    lasting: timedelta = LASTING,
    drain: Callable[[], Iterator[timedelta]] = lambda: iter(()),
) -> LeaseLoop:
    return LeaseLoop(
        work=work,
        drain=drain,
        idle_pause=idle_pause,
        lease=tables.dispatcher_lease,
        clock=tables.clock,
        ids=tables.ids,
        deadline=CountedDown(tables.clock, lasting),
        telemetry=tables.telemetry,
    )


def test_it_works_until_too_little_time_is_left(tables: AnyTables) -> None:
    started: list[datetime] = []

    def work(now: datetime, fence: int) -> bool:
        started.append(now)
        return False

    began = tables.clock.now()
    shift(tables, work)(scheduled=True)
    assert len(started) == (LASTING - RESERVE) // IDLE + 1
    assert started[-1] - began <= LASTING - RESERVE
    assert tables.dispatcher_lease.acquire("next", now=tables.clock.now(), ttl=IDLE) is not None


def test_what_the_operator_paused_is_told_with_the_lease_and_with_each_renewal(tables: AnyTables) -> None:
    told: list[tuple[frozenset[str], timedelta]] = []

    def work(now: datetime, fence: int) -> bool:
        if not told[1:]:
            tables.operator_pauses("default", now)
        return False

    loop = replace(
        shift(tables, work, lasting=RESERVE + 4 * MAX_UNRENEWED_AGE),
        observe=lambda pauses, at: told.append((frozenset(pauses.paused), at)),
    )
    began = tables.clock.monotonic()
    loop(scheduled=True)
    assert told[0] == (frozenset(), began)
    assert {names for names, _ in told[1:]} == {frozenset({"default"})}
    assert all(later - earlier <= MAX_UNRENEWED_AGE for (_, earlier), (_, later) in pairwise(told))


def test_work_in_hand_shortens_the_pause(tables: AnyTables) -> None:
    cycles: list[datetime] = []

    def work(now: datetime, fence: int) -> bool:
        cycles.append(now)
        return len(cycles) < 3

    shift(tables, work)(scheduled=True)
    assert cycles[1] - cycles[0] == timedelta(seconds=1)
    assert cycles[3] - cycles[2] == IDLE


def test_without_work_a_function_that_does_not_wait_goes_home(tables: AnyTables) -> None:
    cycles = Ticks()
    shift(tables, cycles, idle_pause=None)(scheduled=True)
    assert len(cycles) == 1


def test_a_wake_up_during_the_last_tick_is_not_lost(tables: AnyTables) -> None:
    cycles: list[datetime] = []

    def work(now: datetime, fence: int) -> bool:
        cycles.append(now)
        if len(cycles) == 1:
            tables.dispatcher_lease.signal("event", handover=False)
        return False

    shift(tables, work, idle_pause=None)(scheduled=True)
    assert len(cycles) == 2


def test_a_successor_relieves_after_the_tick_under_way(tables: AnyTables) -> None:
    fences: list[int] = []

    def work(now: datetime, fence: int) -> bool:
        fences.append(fence)
        if len(fences) == 3:
            tables.dispatcher_lease.signal("successor", handover=True)
        return False

    shift(tables, work)(scheduled=True)
    assert len(fences) == 3


def test_a_wake_up_while_somebody_works_goes_home_at_once(tables: AnyTables) -> None:
    held = tables.dispatcher_lease.acquire("worker", now=tables.clock.now(), ttl=timedelta(seconds=9))
    assert held is not None
    cycles = Ticks()
    shift(tables, cycles)(scheduled=False)
    assert cycles == []
    assert not tables.dispatcher_lease.release(held)


def test_a_dead_worker_is_followed_when_its_lease_has_run_out(tables: AnyTables) -> None:
    tables.dispatcher_lease.acquire("dead", now=tables.clock.now(), ttl=timedelta(seconds=9))
    began = tables.clock.now()
    started = Ticks()
    shift(tables, started, idle_pause=None)(scheduled=True)
    assert timedelta(seconds=9) <= started[0] - began < timedelta(seconds=10)


class Watched:
    """A lease that notes when it was renewed."""

    def __init__(self, tables: AnyTables) -> None:
        self._tables = tables
        self.renewed: list[datetime] = []
        self.fails = False

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (any method of the port)
        return getattr(self._tables.dispatcher_lease, name)

    def renew(self, held: HeldLease, *, now: datetime, ttl: timedelta) -> HeldLease | None:
        if self.fails:
            raise RetryError("throttled")
        self.renewed.append(now)
        return self._tables.dispatcher_lease.renew(held, now=now, ttl=ttl)


POLLS = [0.2, 0.5, 2, 3.9, 5, 8, 30, 60]
"""Seconds, over all that the template allows."""


@pytest.mark.parametrize("poll", POLLS)
@pytest.mark.parametrize("took", [0.3, 1.5, 3.0, 4.4])
@pytest.mark.share(8)
def test_an_idle_worker_renews_seldom_and_loses_its_lease_to_nobody(
    tables: AnyTables, poll: float, took: float
) -> None:
    lease, taken, cycles = Watched(tables), [], []

    def work(now: datetime, fence: int) -> bool:
        cycles.append(now)
        tables.clock.sleep(timedelta(seconds=took))
        taken.append(tables.dispatcher_lease.acquire("thief", now=tables.clock.now(), ttl=IDLE))
        return False

    worker = replace(shift(tables, work, idle_pause=timedelta(seconds=poll)), lease=lease)
    worker(scheduled=True)
    assert set(taken) == {None}
    assert len(cycles) >= (LASTING - RESERVE) // timedelta(seconds=poll + took)
    seldom = LASTING / MAX_UNRENEWED_AGE + 2 * len(cycles)
    assert len(lease.renewed) <= (seldom if took > 1 or poll > 2 else LASTING / timedelta(seconds=3))
    assert max(later - earlier for earlier, later in pairwise(lease.renewed)) < LEASE


@pytest.mark.parametrize("poll", POLLS)
@pytest.mark.parametrize("handover", [True, False])
@pytest.mark.share(8)
def test_a_resting_worker_sees_a_signal_within_seconds_however_long_it_rests(
    tables: AnyTables,
    poll: float,
    handover: bool,  # noqa: FBT001  (a successor, or a wake-up)
) -> None:
    cycles = Ticks()
    worker = shift(tables, cycles, idle_pause=timedelta(seconds=poll))
    signalled_at: datetime | None = None
    before = 0
    for pause in worker.pauses(scheduled=True):
        tables.clock.sleep(pause)
        if signalled_at is None and tables.clock.now() - cycles[0] >= timedelta(seconds=min(poll, 11)):
            tables.dispatcher_lease.signal("other", handover=handover)
            signalled_at = tables.clock.now()
            before = len(cycles)
        elif signalled_at is not None and len(cycles) > before and not handover:
            break
    assert signalled_at is not None
    answered = tables.clock.now() if handover else cycles[-1]
    assert answered - signalled_at <= MAX_UNRENEWED_AGE + timedelta(seconds=min(poll, 1))


def test_a_lease_that_cannot_be_renewed_is_not_worked_under_when_it_is_old(tables: AnyTables) -> None:
    lease, cycles = Watched(tables), Ticks()
    lease.fails = True
    replace(shift(tables, cycles), lease=lease)(scheduled=True)
    assert max(cycles) - min(cycles) <= LEASE
    assert "lease_not_renewed" in tables.telemetry.messages("WARNING")


def test_a_lease_is_as_old_as_the_question_for_it_however_long_the_answer_takes(tables: AnyTables) -> None:
    class Slow(Watched):
        def renew(self, held: HeldLease, *, now: datetime, ttl: timedelta) -> HeldLease | None:
            renewed = super().renew(held, now=now, ttl=ttl)
            tables.clock.sleep(MAX_UNRENEWED_AGE - timedelta(seconds=1))
            return renewed

    lease, cycles = Slow(tables), Ticks()
    replace(shift(tables, cycles), lease=lease)(scheduled=True)
    asked = [cycles[0], *lease.renewed]
    assert all(min(at - one for one in asked if one <= at) <= MAX_UNRENEWED_AGE for at in cycles)


def test_a_clock_that_is_put_back_does_not_make_a_lease_younger(tables: AnyTables) -> None:
    class Stepped(VirtualClock):
        def now(self) -> datetime:
            return tables.clock.now() - (timedelta(hours=1) if len(cycles) > 1 else timedelta())

        def monotonic(self) -> timedelta:
            return tables.clock.monotonic()

        def sleep(self, duration: timedelta) -> None:
            tables.clock.sleep(duration)

    lease, cycles = Watched(tables), Ticks()
    replace(shift(tables, cycles), lease=lease, clock=Stepped())(scheduled=True)
    assert len(lease.renewed) >= LASTING / timedelta(seconds=6) - 5


def test_one_slow_cycle_makes_the_next_ones_begin_on_a_fresh_lease(tables: AnyTables) -> None:
    lease = Watched(tables)
    begun: list[datetime] = []

    def work(now: datetime, fence: int) -> bool:
        begun.append(now)
        tables.clock.sleep(timedelta(seconds=20 if len(begun) == 1 else 0.1))
        return False

    replace(shift(tables, work), lease=lease)(scheduled=True)
    assert all(min(at - renewed for renewed in lease.renewed if renewed <= at) < IDLE for at in begun[1:11])


def test_a_tick_that_finds_work_renews_at_once(tables: AnyTables) -> None:
    lease = Watched(tables)
    ends: list[datetime] = []

    def work(now: datetime, fence: int) -> bool:
        tables.clock.sleep(timedelta(seconds=1))
        ends.append(tables.clock.now())
        return len(ends) == 2

    replace(shift(tables, work), lease=lease)(scheduled=True)
    assert ends[1] in lease.renewed


def test_a_successor_of_an_idle_worker_waits_a_few_seconds_at_most(tables: AnyTables) -> None:
    for knocked_in in range(1, 6):
        cycles: list[datetime] = []

        def work(now: datetime, fence: int, cycles: list[datetime] = cycles, knocked_in: int = knocked_in) -> bool:
            cycles.append(now)
            if len(cycles) == knocked_in:
                tables.dispatcher_lease.signal("successor", handover=True)
            return False

        shift(tables, work)(scheduled=True)
        assert tables.clock.now() - cycles[knocked_in - 1] <= MAX_UNRENEWED_AGE


def test_a_failed_tick_is_said_and_the_next_one_tried(tables: AnyTables) -> None:
    cycles: list[datetime] = []

    def work(now: datetime, fence: int) -> bool:
        cycles.append(now)
        if len(cycles) == 1:
            raise RetryError("later")
        return False

    shift(tables, work, idle_pause=None)(scheduled=True)
    assert len(cycles) == 2
    assert "cycle_failed" in tables.telemetry.messages("ERROR")


def test_a_wrong_setting_ends_the_shift_and_frees_the_lease(tables: AnyTables) -> None:
    def work(now: datetime, fence: int) -> bool:
        raise ConfigurationError(setting="Queues", value="", problem="empty", remedy="fill it")

    with pytest.raises(ConfigurationError):
        shift(tables, work)(scheduled=True)
    assert tables.dispatcher_lease.acquire("next", now=tables.clock.now(), ttl=IDLE) is not None


def test_what_is_under_way_is_waited_for_when_nobody_waits_for_the_lease_any_more(tables: AnyTables) -> None:
    drained: list[bool] = []

    def drain() -> Iterator[timedelta]:
        drained.append(tables.dispatcher_lease.acquire("other", now=tables.clock.now(), ttl=IDLE) is not None)
        yield from ()

    shift(tables, lambda now, fence: True, lasting=timedelta(seconds=20), drain=drain)(scheduled=True)
    assert drained == [True]
