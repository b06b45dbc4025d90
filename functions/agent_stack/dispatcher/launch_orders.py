"""Launch orders: chooses capacity type, pools and request sizes for the VMs of one class."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from agent_stack.domain.attempts import excluding_failed_pools
from agent_stack.domain.capacity import LaunchMemory, choose_capacity_type
from agent_stack.domain.classes import VmClass
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.launching import MAX_VMS_OF_A_LAUNCH, LaunchOrder
from agent_stack.domain.runs import Run
from agent_stack.domain.states import CapacityType
from agent_stack.ports import Fleet, Ids, Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOrders:
    """Creates the orders for the runs of one class."""

    fleet: Fleet
    ids: Ids
    telemetry: Telemetry

    def __call__(
        self, vm_class: VmClass, runs: Sequence[Run], memory: LaunchMemory, now: datetime
    ) -> Iterator[tuple[LaunchOrder, Sequence[Run]]]:
        """Each order with its runs; none when no pool of the class is available."""
        unavailable = memory.unavailable(now)
        fallback = {CapacityType.ON_DEMAND} if vm_class.fallback else set()
        try:
            pools = {kind: self.fleet.pools(vm_class, kind) for kind in {vm_class.capacity_type} | fallback}
        except AgentStackError as error:
            self.telemetry.warning("pools_unknown", class_name=vm_class.name, error=str(error))
            return
        chosen = choose_capacity_type(vm_class, pools, unavailable)
        if chosen is None:
            self.telemetry.info("pools_resting", class_name=vm_class.name, count=len(runs))
            return
        available = [pool for pool in pools[chosen] if pool not in unavailable]
        usable = excluding_failed_pools(available, (run.tried[-1].pool for run in runs if run.tried))
        for start in range(0, len(runs), MAX_VMS_OF_A_LAUNCH):
            chunk = runs[start : start + MAX_VMS_OF_A_LAUNCH]
            order = LaunchOrder(
                intent_id=self.ids.intent_id(),
                vm_class=vm_class,
                count=len(chunk),
                capacity_type=chosen,
                pools=usable,
            )
            yield order, chunk
