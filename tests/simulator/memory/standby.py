"""The list of standby VMs behind its port."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.standby import StandbyVm
from agent_stack.domain.states import VmState
from tests.simulator.memory.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStandbyVms:
    """See the port `StandbyVms`."""

    store: Store

    def listed(self) -> Sequence[StandbyVm]:
        """See the port."""
        return list(self.store.standby.values())

    def add(self, vms: Sequence[StandbyVm]) -> None:
        """See the port."""
        for vm in vms:
            self.store.standby.setdefault(vm.instance_id, replace(vm, state=VmState.PENDING))

    def close(self, vms: Sequence[StandbyVm]) -> Sequence[StandbyVm]:
        """See the port."""
        closed = []
        for vm in vms:
            listed = self.store.standby.get(vm.instance_id)
            if vm.closing is None or listed is None or listed.closing is not None or vm.arn in self.store.boxes:
                continue
            self.store.standby[vm.instance_id] = replace(listed, closing=vm.closing)
            self.store.put_box(vm.arn, None)
            closed.append(vm)
        return closed

    def remove(self, instance_ids: Sequence[InstanceId]) -> None:
        """See the port."""
        for instance_id in instance_ids:
            self.store.standby.pop(instance_id, None)
