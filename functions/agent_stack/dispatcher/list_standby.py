"""List standby: puts the VMs of launches that EC2 has answered on the ledger's list, and starts a look at the list.

The launch's intent is closed after its VMs are on the list. So a crash in between puts them on it again, which changes
nothing, and no VM is ever forgotten.
"""

from collections import Counter
from dataclasses import dataclass, replace

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.dispatcher.standby_pool import StandbyPool
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.policy import Policy
from agent_stack.domain.standby import StandbyVm
from agent_stack.ports import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class ListStandby:
    """Runs before `poll`, so that the look goes on while Buildkite answers."""

    pool: StandbyPool
    in_flight: InFlightLaunches
    policy: Policy
    telemetry: Telemetry

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Counts VMs that cannot be listed now as unconfirmed, so that none is asked for in their place."""
        waiting = Counter(cycle.standby_unconfirmed)
        unlisted: set[InstanceId] = set()
        for intent in cycle.standby_launches:
            vms = [
                StandbyVm.of(vm, class_name=intent.class_name, hold=intent.hold, shape=intent.shape)
                for vm in intent.vms
                # An older one may be ended as an orphan at any moment.
                if intent.hold is not None and cycle.now - vm.launched_at < self.policy.bindable_age
            ]
            try:
                if vms:
                    self.pool.add(vms)
            except AgentStackError as error:
                self.telemetry.info("standby_not_listed", intent_id=intent.intent_id, error=str(error))
                waiting[intent.class_name] += len(vms)
                unlisted |= {vm.instance_id for vm in vms}
                continue
            self.in_flight.close(intent.intent_id)
            self.telemetry.info("standby_listed", class_name=intent.class_name, count=len(vms))
        self.pool.begin(cycle)
        return replace(cycle, standby_unconfirmed=waiting, standby_unlisted=frozenset(unlisted))
