"""Standby room: how many VMs may be launched to stand by, within every bound that jobs have, and after them."""

from dataclasses import dataclass

from agent_stack.dispatcher.class_room import ClassRoom
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.launch_orders import LaunchOrders
from agent_stack.dispatcher.launch_room import LaunchRoom
from agent_stack.dispatcher.vcpu_room import VcpuRoom
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import VmClass
from agent_stack.domain.identifiers import Bucket, ClassName
from agent_stack.domain.jobs import Queue
from agent_stack.domain.quota_buckets import bucket_of
from agent_stack.domain.quota_room import QuotaRoom, capacity_types_of
from agent_stack.domain.waiting import WaitReason

SHARED = frozenset(
    {
        WaitReason.MAX_INSTANCES,
        WaitReason.MAX_VCPUS,
        WaitReason.LAUNCH_RATE,
        WaitReason.EC2_BUDGET,
        WaitReason.CYCLE_ROOM,
    }
)
"""What all classes share: while a job waits for any of it, no VM is launched to stand by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandbyRoom:
    """Counts what is left."""

    room: LaunchRoom
    vcpu_room: VcpuRoom
    class_room: ClassRoom
    orders: LaunchOrders
    queues: tuple[Queue, ...]

    def queues_paused(self, cycle: DispatcherCycle) -> bool:
        """Whether no queue may start a job. A standby VM is for the jobs of all queues."""
        return all(queue.key in cycle.paused for queue in self.queues)

    def places(self, cycle: DispatcherCycle, memory: LaunchMemory, quotas: QuotaRoom, wanted: int) -> int:
        """How many VMs of any class.

        Args:
            wanted: see `LaunchRoom`.
        """
        if any(reason in SHARED for _, reason in cycle.lacking):
            return 0
        if any(self._waits_for_room(name, cycle, memory, quotas) for name in cycle.unmet):
            return 0
        if not memory.requests_left(cycle.now) or memory.paused(cycle.now):
            return 0
        kept = sum(cycle.unmet.values())  # for the jobs that wait for EC2 alone
        return self.room(cycle, memory, wanted + kept) - kept

    def of_class(self, vm_class: VmClass, cycle: DispatcherCycle, quotas: QuotaRoom) -> int:
        """How many VMs of that class. What was asked for in this cycle is in flight, and counted."""
        if cycle.book is None or vm_class.name in cycle.unmet:
            return 0
        waiting = {name for name, reason in cycle.lacking if reason is WaitReason.QUOTA}
        waiting |= {name for name in cycle.unmet if self._is_full(name, cycle, quotas)}
        if any(self._buckets(name, cycle) & self._buckets(vm_class.name, cycle) for name in waiting):
            return 0
        bounds = []
        own = self.class_room(vm_class.name, cycle)
        if own is not None:
            bounds.append(own.left)
        vcpus = self.vcpu_room(cycle, among=vm_class.name)
        if vcpus is not None:
            bounds.append(vcpus.left // self.vcpu_room.size(vm_class.name, cycle))
        return min(bounds, default=MANY)

    def _waits_for_room(self, name: ClassName, cycle: DispatcherCycle, memory: LaunchMemory, quotas: QuotaRoom) -> bool:
        """Whether jobs of that class wait for what all classes share. The others wait for EC2 or for their quota."""
        vm_class = None if cycle.book is None else cycle.book.find(name)
        if vm_class is None or self._is_full(name, cycle, quotas):
            return False
        return self.orders.may_be_asked(vm_class, memory, cycle.now)

    @staticmethod
    def _is_full(name: ClassName, cycle: DispatcherCycle, quotas: QuotaRoom) -> bool:
        vm_class = None if cycle.book is None else cycle.book.find(name)
        return vm_class is not None and quotas.is_full(vm_class)

    @staticmethod
    def _buckets(name: ClassName, cycle: DispatcherCycle) -> frozenset[Bucket]:
        vm_class = None if cycle.book is None else cycle.book.find(name)
        if vm_class is None:
            return frozenset()
        return frozenset(
            bucket_of(one, kind) for kind in capacity_types_of(vm_class) for one in vm_class.instance_types
        )


MANY = 100_000
"""More than any deployment has."""
