"""Asks EC2 which VMs are up, beside the first steps of a cycle that is likely to launch.

The answer takes as long as a reservation does, and is needed only by `launch`. The look belongs to its cycle: what EC2
showed in one cycle is not what is up in the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from agent_stack.dispatcher.capacity_cache import CapacityCache
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.domain.errors import RetryError
from agent_stack.domain.policy import Policy
from agent_stack.domain.vms import Vm
from agent_stack.ports import Fleet, Workers

ANSWER_WITHIN = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class VmPrefetch:
    """Starts the look at most once a cycle, and waits for its answer."""

    fleet: Fleet
    workers: Workers
    capacity: CapacityCache
    policy: Policy

    def start(self, cycle: DispatcherCycle, vms: int) -> DispatcherCycle:
        """The cycle with the look begun, if that many VMs would be asked for now.

        Only then, because to look at thousands of VMs takes several requests.
        """
        launches = self.policy.launch_enabled and not self.policy.observe_only
        if cycle.vm_look is not None or not vms or not launches:
            return cycle
        if not self.capacity.under(cycle.fence).worth_asking(vms, self.policy.instance_budget, cycle.now):
            return cycle
        return replace(cycle, vm_look=self.workers.submit(self.fleet.describe))

    def result(self, cycle: DispatcherCycle) -> Sequence[Vm]:
        """The VMs that EC2 shows, by a look of this cycle.

        Raises:
            AgentStackError: EC2 did not say.
        """
        look = cycle.vm_look
        if look is None:
            return self.fleet.describe()
        self.workers.wait([look], ANSWER_WITHIN)
        if not look.done():
            raise RetryError(f"DescribeInstances: no answer within {ANSWER_WITHIN.total_seconds():.0f} s")
        return look.result()
