"""Find standby: which idle standby VMs jobs can be bound to now, in the order in which jobs take them."""

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import timedelta

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.standby_pool import StandbyPool
from agent_stack.domain.identifiers import ClassName, InstanceId
from agent_stack.domain.standby import StandbyVm, in_turn
from agent_stack.ports import Fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class FindStandby:
    """Reads nothing itself; it waits a moment for the first look under a lease.

    Not with jobs whose VMs an earlier look shows. Without jobs it waits, too: with push the invocation ends with its
    first cycle, and nobody would replenish from a look that comes later.
    """

    pool: StandbyPool
    fleet: Fleet

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Fills `standby` and `standby_ids`."""
        jobs = bool(cycle.listed) or any(run.binding is None for run in cycle.active)
        if cycle.listed:
            self.pool.begin(cycle)  # a look that only jobs need
        recent = self.pool.recent(cycle)
        self.pool.collect(cycle, wait=not (jobs and recent))
        by_class: dict[ClassName, list[StandbyVm]] = defaultdict(list)
        known = self.pool.vms(cycle)
        for vm in filter(self.pool.is_bindable, (recent or ()) if known is None else known):
            by_class[vm.class_name].append(vm)
        found: dict[ClassName, tuple[StandbyVm, ...]] = {}
        for name, vms in by_class.items():
            vm_class = None if cycle.book is None else cycle.book.find(name)
            shape = "" if vm_class is None else self.fleet.shape(vm_class)
            lead = timedelta() if vm_class is None else vm_class.boot_timeout
            if ordered := in_turn(vms, shape, lead, cycle.now):
                found[name] = tuple(ordered)
        return replace(cycle, standby=found, standby_ids=self._ids(cycle))

    def _ids(self, cycle: DispatcherCycle) -> frozenset[InstanceId] | None:
        """Those on the list, and those that EC2 has launched and that could not be put on it now."""
        listed = self.pool.ids(cycle)
        return None if listed is None else listed | cycle.standby_unlisted
