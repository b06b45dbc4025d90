"""What EC2 taught is in the ledger as it was learned last, whichever thread is the first."""

from collections.abc import Callable
from dataclasses import replace

from agent_stack.dispatcher.capacity_cache import CapacityCache
from agent_stack.domain.capacity import LaunchMemory
from tests.simulator.clock import EPOCH
from tests.simulator.memory import MemoryLedger, Store


def test_writes_that_change_places_do_not_bring_back_an_older_memory() -> None:
    store, writes = Store(), list[Callable[[], None]]()
    cache = CapacityCache(ledger=MemoryLedger(store=store), write_beside=lambda _, write: writes.append(write))
    began = LaunchMemory(began_at=EPOCH)
    worked = replace(began, worked_at=EPOCH)
    cache.learn(began, fence=1)
    cache.learn(worked, fence=1)
    for write in reversed(writes):
        write()
    assert store.launching == worked


def test_the_ledger_is_read_again_only_after_another_process_had_the_lease() -> None:
    store = Store()
    cache = CapacityCache(ledger=MemoryLedger(store=store), write_beside=lambda _, write: write())
    worked = LaunchMemory(worked_at=EPOCH)
    cache.learn(worked, fence=1)
    store.launching = LaunchMemory()  # as another process writes it
    assert [cache.under(fence) for fence in (2, 3, 5, 4)] == [worked, worked, LaunchMemory(), LaunchMemory()]


def test_what_was_learned_under_an_earlier_lease_is_written_although_the_ledger_was_read_again() -> None:
    store, writes = Store(), list[Callable[[], None]]()
    cache = CapacityCache(ledger=MemoryLedger(store=store), write_beside=lambda _, write: writes.append(write))
    worked = LaunchMemory(worked_at=EPOCH)
    cache.learn(worked, fence=1)
    assert cache.under(3) == LaunchMemory()  # the write is not there yet
    writes[0]()
    assert store.launching == worked
