"""Launch room: how many VMs the dispatcher may request from EC2 now."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.dispatcher.vm_prefetch import VmPrefetch
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.errors import AgentStackError, RetryError
from agent_stack.domain.policy import Policy
from agent_stack.domain.states import UP
from agent_stack.domain.vms import Vm
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

    def __call__(self, cycle: DispatcherCycle, memory: LaunchMemory, wanted: int | None = None) -> int:
        """How many VMs; zero or negative when there is no room.

        Only EC2 knows which VMs are up: a VM whose run has ended, or that no run needs, counts until it is terminated.
        The dispatcher adds VMs that EC2 does not show yet from its own records. While EC2 does not answer, the
        dispatcher launches nothing; the next cycle asks again.

        Args:
            wanted: so much room is enough, so that an earlier look may show it.
        """
        left = self.instances(cycle, wanted)
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

    def instances(self, cycle: DispatcherCycle, wanted: int | None = None) -> int | None:
        """How many VMs MaxInstances leaves room for; None while nobody knows what is up.

        Args:
            wanted: see `__call__`. None to look in any case.
        """
        if cycle.standby_ids is None:  # EC2 may not show fresh ones yet
            self.telemetry.info("standby_vms_not_known_yet")
            return None
        late = self.prefetch.late(cycle)
        known = (
            self.prefetch.count.left(cycle) if wanted is not None and late is None and not _is_there(cycle) else None
        )
        if known is not None and wanted is not None and known >= wanted:
            self.prefetch.wait_for_subnets(cycle)
            return known
        try:
            vms = self._look(cycle) if late is None else late.listing.result()
        except AgentStackError as error:
            self._outages.passing(_LIST, self.telemetry, "vms_unknown", error=str(error))
            return None
        self._outages.is_over(_LIST)
        bound = [run.binding for run in cycle.active if run.binding is not None]
        idle = {vm.instance_id for vms in cycle.idle_vms.values() for vm in vms}
        recorded = {binding.instance_id for binding in bound} | idle | cycle.standby_ids
        shown = {vm.instance_id: vm.state for vm in vms}
        up = {vm for vm, state in shown.items() if state in UP}
        taken = len(up | (recorded - shown.keys())) + self._coming(cycle)
        if late is not None:
            launched = self.prefetch.count.launched(cycle.fence)
            if launched is None or late.launched is None or launched.uncounted != late.launched.uncounted:
                return None
            taken += launched.vms - late.launched.vms  # the list may be older than these VMs
        self.prefetch.count.learn(taken, cycle, cycle.now if late is None else late.at)
        return self.policy.max_instances - taken

    def _look(self, cycle: DispatcherCycle) -> Sequence[Vm]:
        """EC2's list.

        Raises:
            AgentStackError: it is not there yet, or EC2 did not answer.
        """
        if self.prefetch.is_under_way(cycle):
            raise RetryError("DescribeInstances: the list is not complete yet")
        return self.prefetch.result(cycle)

    def _coming(self, cycle: DispatcherCycle) -> int:
        return cycle.unconfirmed + sum(intent.count for intent in self.in_flight.intents)


def _is_there(cycle: DispatcherCycle) -> bool:
    """Whether the list that this cycle asked for has come."""
    return cycle.vm_listing is not None and cycle.vm_listing.done()
