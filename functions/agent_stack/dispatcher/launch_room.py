"""Launch room: how many VMs the dispatcher may request from EC2 now."""

from dataclasses import dataclass, field
from datetime import timedelta

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.dispatcher.vm_prefetch import VmPrefetch
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.policy import Policy
from agent_stack.domain.states import UP
from agent_stack.outages import Outages
from agent_stack.ports import Telemetry

MINUTE = timedelta(minutes=1)
_LIST = "EC2's list"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRoom:
    """Limits launches by MaxInstances, by MaxLaunchesPerMinute, and by EC2's request budget."""

    in_flight: InFlightLaunches
    prefetch: VmPrefetch
    policy: Policy
    telemetry: Telemetry
    _outages: Outages = field(default_factory=Outages, init=False, repr=False)

    def __call__(self, cycle: DispatcherCycle, memory: LaunchMemory) -> int:
        """How many VMs; zero or negative when there is no room.

        Only EC2 knows which VMs are up: a VM whose run has ended, or that no run needs, counts until it is terminated.
        The dispatcher adds VMs that EC2 does not show yet from its own records. While EC2 does not answer, the
        dispatcher launches nothing; the next cycle asks again.
        """
        left = self.instances(cycle)
        if left is None:
            return 0
        bound = [run.binding for run in cycle.active if run.binding is not None]
        standby = [vm for vms in cycle.standby.values() for vm in vms]
        launched = [*(one.launched_at for one in bound), *(vm.launched_at for vm in standby)]
        fresh = sum(cycle.now - at < MINUTE for at in launched)
        idle = {vm.instance_id for vms in cycle.idle_vms.values() for vm in vms}
        return min(
            left,
            self.policy.max_launches_per_minute
            - max(memory.asked_within_a_minute(cycle.now), fresh + len(idle) + self._coming(cycle)),
            memory.granted(self.policy.instance_budget, cycle.now),
        )

    def instances(self, cycle: DispatcherCycle) -> int | None:
        """How many VMs MaxInstances leaves room for; None while nobody knows what is up."""
        if cycle.standby_ids is None:  # EC2 may not show fresh ones yet
            self.telemetry.info("standby_vms_not_known_yet")
            return None
        try:
            shown = {vm.instance_id: vm.state for vm in self.prefetch.result(cycle)}
        except AgentStackError as error:
            self._outages.passing(_LIST, self.telemetry, "vms_unknown", error=str(error))
            return None
        self._outages.is_over(_LIST)
        bound = [run.binding for run in cycle.active if run.binding is not None]
        idle = {vm.instance_id for vms in cycle.idle_vms.values() for vm in vms}
        recorded = {binding.instance_id for binding in bound} | idle | cycle.standby_ids
        up = {vm for vm, state in shown.items() if state in UP}
        return self.policy.max_instances - len(up | (recorded - shown.keys())) - self._coming(cycle)

    def _coming(self, cycle: DispatcherCycle) -> int:
        return cycle.unconfirmed + sum(intent.count for intent in self.in_flight.intents)
