"""Records in memory are taken no faster than DynamoDB takes them."""

from datetime import timedelta

import pytest

from agent_stack.domain.errors import RetryError
from tests.simulator.clock import VirtualClock
from tests.simulator.memory import MemoryLedger, Rates, Store
from tests.unit.values import a_run


def ledger(**rates: float) -> tuple[MemoryLedger, Rates, VirtualClock]:
    clock = VirtualClock()
    limits = Rates(now=clock.now, **rates)  # type: ignore[arg-type]  # numbers only
    return MemoryLedger(store=Store(), rates=limits, sleep=clock.sleep), limits, clock


def test_a_partition_takes_a_thousand_units_at_once_and_as_many_a_second() -> None:
    memory, rates, clock = ledger()
    began = clock.now()
    assert len(memory.record([a_run(n) for n in range(5_000)])) == 5_000
    assert timedelta(milliseconds=100) < clock.now() - began < timedelta(seconds=2)
    assert rates.turned_away > 0
    assert rates.written == 10_000


def test_one_full_partition_does_not_hold_up_the_others() -> None:
    memory, _, clock = ledger(per_second=2.0)
    won = memory.record([a_run(n) for n in range(64)])
    assert 8 <= len(won) < 64
    clock.sleep(timedelta(seconds=60))
    assert memory.update([run.failing("why") for run in won[:1]])


def test_what_is_never_taken_is_an_error_to_try_again() -> None:
    memory, rates, _ = ledger()
    rates.conflicts = lambda: True
    with pytest.raises(RetryError):
        memory.record([a_run()])


def test_a_conflict_costs_a_round_and_nothing_else() -> None:
    memory, rates, _ = ledger()
    meetings = iter([True, False])
    rates.conflicts = lambda: next(meetings)
    assert len(memory.record([a_run()])) == 1
    assert rates.turned_away == 1
