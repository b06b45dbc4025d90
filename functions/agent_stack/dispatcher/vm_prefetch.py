"""VM prefetch: asks EC2 which VMs are up, beside the first steps of a cycle that probably launches.

The answer takes as long as a reservation, and only `launch` needs it. An answer is valid for its own cycle only,
because VMs start and end between two cycles.
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

ANSWER_TIMEOUT = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class VmPrefetch:
    """Sends the request at most once in a cycle, and waits for its answer."""

    fleet: Fleet
    workers: Workers
    capacity: CapacityCache
    policy: Policy

    def start(self, cycle: DispatcherCycle, vms: int) -> DispatcherCycle:
        """The cycle with the request sent, if the dispatcher would request this many VMs now.

        Otherwise nothing is sent, because listing thousands of VMs takes several requests.
        """
        launches = self.policy.launch_enabled and not self.policy.observe_only
        if cycle.vm_listing is not None or not vms or not launches:
            return cycle
        if not self.capacity.under(cycle.fence).worth_asking(vms, self.policy.instance_budget, cycle.now):
            return cycle
        return replace(cycle, vm_listing=self.workers.submit(self.fleet.describe))

    def result(self, cycle: DispatcherCycle) -> Sequence[Vm]:
        """The VMs that EC2 showed in this cycle.

        Raises:
            AgentStackError: EC2 did not answer.
        """
        listing = cycle.vm_listing
        if listing is None:
            return self.fleet.describe()
        self.workers.wait([listing], ANSWER_TIMEOUT)
        if not listing.done():
            raise RetryError(f"DescribeInstances: no answer within {ANSWER_TIMEOUT.total_seconds():.0f} s")
        return listing.result()
