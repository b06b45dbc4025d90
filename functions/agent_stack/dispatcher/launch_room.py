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
        try:
            shown = {vm.instance_id: vm.state for vm in self.prefetch.result(cycle)}
        except AgentStackError as error:
            self._outages.passing(_LIST, self.telemetry, "vms_unknown", error=str(error))
            return 0
        self._outages.is_over(_LIST)
        bound = [run.binding for run in cycle.active if run.binding is not None]
        idle = {vm.instance_id for vms in cycle.idle_vms.values() for vm in vms}
        recorded = {binding.instance_id for binding in bound} | idle
        up = {vm for vm, state in shown.items() if state in UP}
        coming = cycle.unconfirmed + sum(intent.count for intent in self.in_flight.intents)
        fresh = sum(cycle.now - binding.launched_at < MINUTE for binding in bound)
        return min(
            self.policy.max_instances - len(up | (recorded - shown.keys())) - coming,
            self.policy.max_launches_per_minute
            - max(memory.asked_within_a_minute(cycle.now), fresh + len(idle) + coming),
            memory.granted(self.policy.instance_budget, cycle.now),
        )
