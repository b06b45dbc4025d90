"""Preempt: ends idle standby VMs that take the room which jobs of other classes need.

A standby VM is there to save seconds; a job that waits is worth more. The VM is closed here, on the condition of a
binding. It sees that within a second and powers itself off; the tracker ends one that does not. The job's launch
deadline stands still meanwhile.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from agent_stack.dispatcher.capacity_cache import CapacityCache
from agent_stack.dispatcher.class_room import ClassRoom
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.launch_orders import LaunchOrders
from agent_stack.dispatcher.launch_room import LaunchRoom
from agent_stack.dispatcher.quota_watch import QuotaWatch
from agent_stack.dispatcher.standby_pool import StandbyPool
from agent_stack.dispatcher.vcpu_room import VcpuRoom
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import base_name
from agent_stack.domain.identifiers import Bucket, ClassName, InstanceId
from agent_stack.domain.moments import has_passed
from agent_stack.domain.policy import Policy
from agent_stack.domain.quota_buckets import bucket_of
from agent_stack.domain.quota_room import QuotaRoom
from agent_stack.domain.quotas import prolonged
from agent_stack.domain.standby import Closing, StandbyVm
from agent_stack.ports import Telemetry

LISTED_STILL = timedelta(seconds=3)
"""A VM that has gone may be counted by EC2's list of this cycle, which is older than the look that shows it gone."""

NOT_COUNTED = timedelta()
"""MaxVcpus and a class's maximum count what is on the list of standby VMs."""

COUNTED_STILL = timedelta(minutes=1)
"""A quota counts a VM until it is terminated, which takes longer than its power-off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """Something of which there is too little for the runs.

    Attributes:
        worth: how much of it the end of a VM brings.
        counts_the_gone: for how long a VM that was closed may be counted still.
    """

    needed: int
    worth: Callable[[StandbyVm], int]
    counts_the_gone: timedelta = LISTED_STILL


@dataclass(slots=True, kw_only=True)
class Preempt:
    """Closes as many idle VMs as the runs lack places, vCPUs or room in a quota."""

    pool: StandbyPool
    room: LaunchRoom
    vcpu_room: VcpuRoom
    class_room: ClassRoom
    quotas: QuotaWatch
    capacity: CapacityCache
    orders: LaunchOrders
    policy: Policy
    telemetry: Telemetry
    _closed: list[tuple[datetime, StandbyVm]] = field(default_factory=list, init=False)

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Returns the cycle without the VMs that it closed."""
        if not cycle.unmet:  # what was closed has made its room
            self._closed.clear()
            return cycle
        known = self.pool.vms(cycle) if self.policy.launch_enabled else None
        if not known:
            return cycle
        memory = self.capacity.under(cycle.fence)
        unmet = {name: count for name, count in cycle.unmet.items() if self._may_launch(name, memory, cycle)}
        leaving = {vm.instance_id: vm for vm in known if vm.closing is not None}
        idle = sorted(filter(self.pool.is_bindable, known), key=lambda vm: self._worth(vm, unmet, cycle))
        chosen: dict[InstanceId, StandbyVm] = {}
        short = False
        for shortage in self._shortages(unmet, cycle, memory):
            short = short or any(shortage.worth(vm) for vm in known)
            gone = {
                vm.instance_id: vm for at, vm in self._closed if not has_passed(shortage.counts_the_gone, at, cycle.now)
            }
            left = shortage.needed - sum(map(shortage.worth, {**leaving, **gone, **chosen}.values()))
            for vm in idle:
                if left > 0 and shortage.worth(vm) and vm.instance_id not in chosen:
                    chosen[vm.instance_id] = vm
                    left -= shortage.worth(vm)
        if short:
            held = prolonged(memory.preempting, cycle.now)
            self.capacity.learn(replace(memory, preempting=held), cycle.fence)
        wanted = [replace(vm, closing=Closing.PREEMPTED) for vm in chosen.values()]
        if wanted and memory.quotas:
            self.quotas.expect_an_end(cycle.now)
        for vm in self.pool.close(wanted):
            self._closed.append((cycle.now, vm))
            self.telemetry.info(
                "standby_closed", instance_id=vm.instance_id, class_name=vm.class_name, reason=Closing.PREEMPTED
            )
        return cycle

    def _shortages(
        self, unmet: Mapping[ClassName, int], cycle: DispatcherCycle, memory: LaunchMemory
    ) -> Iterator[Shortage]:
        """What is missing, each with how much of it the end of a VM brings."""
        if not unmet or cycle.book is None:
            return
        places = self.room.instances(cycle)
        if places is not None and sum(unmet.values()) > places:
            yield Shortage(needed=sum(unmet.values()) - max(0, places), worth=lambda _: 1)
        vcpus = self.vcpu_room(cycle)
        if vcpus is not None and vcpus.held_back:
            yield Shortage(needed=-vcpus.left, worth=self._vcpus, counts_the_gone=NOT_COUNTED)
        for base in {base_name(name) for name in unmet}:
            own = self.class_room(base, cycle)
            if own is not None and own.held_back:
                yield Shortage(needed=own.held_back, worth=partial(self._is_of, base), counts_the_gone=NOT_COUNTED)
        room = self.quotas.room(cycle, memory)
        for name, count in unmet.items():
            vm_class = cycle.book.find(name)
            if vm_class is not None and room.is_full(vm_class):
                yield self._of_quota(room, room.sizes(vm_class), count)

    def _of_quota(self, room: QuotaRoom, sizes: Mapping[Bucket, int], count: int) -> Shortage:
        def worth(vm: StandbyVm) -> int:
            in_it = bucket_of(vm.instance_type, vm.capacity_type) in sizes
            return room.vcpus.get(vm.instance_type, vm.vcpus or 1) if in_it else 0  # its type may not be read yet

        return Shortage(needed=count * min(sizes.values()), worth=worth, counts_the_gone=COUNTED_STILL)

    @staticmethod
    def _is_of(name: ClassName, vm: StandbyVm) -> int:
        """A job may have chosen another type than its class's standby VMs have; they share the class's maximum."""
        return int(vm.class_name == name)

    def _vcpus(self, vm: StandbyVm) -> int:
        return self.vcpu_room.vcpus.known.get(vm.instance_type, vm.vcpus or 1)

    def _may_launch(self, name: ClassName, memory: LaunchMemory, cycle: DispatcherCycle) -> bool:
        """Whether EC2 would be asked if there were room; otherwise the end of a VM helps no job."""
        vm_class = None if cycle.book is None else cycle.book.find(name)
        if vm_class is None or memory.breaker(name, cycle.now) is not None:
            return False
        if not self.vcpu_room.ever_fits(name, cycle):
            return False
        return self.orders.may_be_asked(vm_class, memory, cycle.now)

    @staticmethod
    def _worth(vm: StandbyVm, unmet: Iterable[ClassName], cycle: DispatcherCycle) -> tuple[bool, bool, float]:
        """The first ones are ended first: those of other classes, that are not ready, the youngest."""
        vm_class = None if cycle.book is None else cycle.book.find(vm.class_name)
        ready = vm_class is not None and vm.is_ready(cycle.now, vm_class.boot_timeout)
        return vm.class_name in unmet, ready, -vm.launched_at.timestamp()
