"""Parts of a dispatcher that several of its tests need: workers, and what its steps share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

from agent_stack.dispatcher.capacity_cache import CapacityCache
from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.dispatcher.quota_watch import QuotaWatch
from agent_stack.dispatcher.vcpu_cache import VcpuCache
from agent_stack.dispatcher.vm_prefetch import VmPrefetch
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.policy import Policy
from agent_stack.ports import Ledger, Task
from tests.simulator.clock import EPOCH
from tests.simulator.memory import MemoryInstanceTypes, MemoryLedger, Store
from tests.simulator.telemetry import RecordedTelemetry

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Done(Generic[ResultT]):
    """A task that has ended."""

    value: ResultT

    def done(self) -> bool:
        return True

    def result(self) -> ResultT:
        return self.value


class AtOnce:
    """Workers that do everything at once."""

    def submit(self, task: Callable[[], ResultT]) -> Done[ResultT]:
        return Done(task())

    def wait(self, tasks: Sequence[Task[Any]], at_most: timedelta) -> None:
        """Nothing is left to wait for."""


def a_capacity(memory: LaunchMemory | None = None, ledger: Ledger | None = None) -> CapacityCache:
    """What the dispatcher knows of EC2: that memory, or what that ledger holds."""
    kept = ledger or MemoryLedger(store=Store())
    if memory is not None:
        kept.remember_launches(memory, fence=1)
    return CapacityCache(ledger=kept, write_beside=lambda _, write: write())


def a_prefetch(capacity: CapacityCache, policy: Policy) -> VmPrefetch:
    """A look at an EC2 without VMs."""
    fleet: Any = SimpleNamespace(describe=tuple)
    return VmPrefetch(fleet=fleet, workers=AtOnce(), capacity=capacity, policy=policy)


def a_vcpu_cache() -> VcpuCache:
    """What EC2 says of types, at once."""
    return VcpuCache(instance_types=MemoryInstanceTypes(), workers=AtOnce(), telemetry=RecordedTelemetry())


def a_quota_watch(vcpus: VcpuCache) -> QuotaWatch:
    """A watch over an EC2 without VMs."""
    fleet: Any = SimpleNamespace(describe=tuple)
    telemetry, workers = RecordedTelemetry(), AtOnce()
    clock: Any = SimpleNamespace(now=lambda: EPOCH)
    in_flight = InFlightLaunches(
        fleet=fleet, ledger=MemoryLedger(store=Store()), workers=workers, clock=clock, telemetry=telemetry
    )
    return QuotaWatch(fleet=fleet, in_flight=in_flight, vcpus=vcpus, workers=workers, telemetry=telemetry)
