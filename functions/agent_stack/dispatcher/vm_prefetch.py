"""VM prefetch: asks EC2 which VMs are up, beside the first steps of a cycle that probably launches.

The answer takes as long as a reservation, and only `launch` needs it. A list is valid for its own cycle only, because
VMs start and end between two cycles; their number is remembered (`vm_count`). Where that leaves room, nothing is asked.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from agent_stack.dispatcher.capacity_cache import CapacityCache
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.vm_count import LONGEST_LOOK, VmCount
from agent_stack.domain.errors import AgentStackError, RetryError
from agent_stack.domain.launching import Launched
from agent_stack.domain.moments import has_passed
from agent_stack.domain.policy import Policy
from agent_stack.domain.vms import Vm
from agent_stack.ports import Fleet, Task, Workers

ANSWER_TIMEOUT = timedelta(seconds=5)

PAGE = 1_000
"""VMs that EC2 lists in one request. A list of no more than that is never used by a later cycle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A list that was asked for beside a cycle.

    Attributes:
        launched: how many VMs all intents had asked for by then, at least; None when it is not known.
    """

    listing: Task[Sequence[Vm]]
    launched: Launched | None
    at: datetime

    def is_long(self, short: int) -> bool:
        """Whether it has more VMs than that. EC2 lists fewer anew while it is asked, and then as they are now."""
        try:
            return len(self.listing.result()) > short
        except AgentStackError:
            return False


@dataclass(slots=True, kw_only=True)
class VmPrefetch:
    """Sends the request at most once in a cycle, and waits for its answer.

    Attributes:
        short: a list of so many VMs is used in its own cycle only.
    """

    fleet: Fleet
    workers: Workers
    capacity: CapacityCache
    count: VmCount
    policy: Policy
    short: int = PAGE
    _begun: Begun | None = field(default=None, init=False)

    def foresee(self, cycle: DispatcherCycle) -> None:
        """The cycle will probably launch: what `start` has to know for that is read beside the first requests."""
        if cycle.expected_launches:
            self.count.prepare(cycle.fence)

    def read_ahead(self, fence: int) -> None:
        """Reads what the first launch under a lease has to know, in a cycle that has nothing else to do."""
        if self.policy.launch_enabled and not self.policy.observe_only:
            self.count.prepare(fence)
            with suppress(AgentStackError):  # then the cycle that launches reads it
                self.capacity.under(fence)

    def start(self, cycle: DispatcherCycle, vms: int) -> DispatcherCycle:
        """The cycle with the request sent, if the dispatcher would request this many VMs now.

        Otherwise nothing is sent, because listing thousands of VMs takes several requests.
        """
        launches = self.policy.launch_enabled and not self.policy.observe_only
        if cycle.vm_listing is not None or not vms or not launches:
            return cycle
        if not self.capacity.under(cycle.fence).worth_asking(vms, self.policy.instance_budget, cycle.now):
            return cycle
        if self._earlier(cycle) is not None or self.count.suffices(cycle, vms):
            return self._with_subnets(cycle)
        launched = self.count.surely_launched(cycle.fence)
        self._begun = Begun(listing=self.workers.submit(self.fleet.describe), launched=launched, at=cycle.now)
        return replace(cycle, vm_listing=self._begun.listing)

    def _with_subnets(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """A look at the VMs looks at the subnets, too; without one they are looked at by themselves."""
        if cycle.subnet_look is not None:
            return cycle
        return replace(cycle, subnet_look=self.workers.submit(self.fleet.look_at_subnets))

    def wait_for_subnets(self, cycle: DispatcherCycle) -> None:
        """Waits for that look, because a launch into a subnet that is gone costs its jobs seconds."""
        if cycle.subnet_look is not None:
            self.workers.wait([cycle.subnet_look], ANSWER_TIMEOUT)

    def is_under_way(self, cycle: DispatcherCycle) -> bool:
        """Whether a list is awaited that an earlier cycle asked for: thousands of VMs take longer than a cycle."""
        begun = self._earlier(cycle)
        return begun is not None and not begun.listing.done()

    def late(self, cycle: DispatcherCycle) -> Begun | None:
        """The list that an earlier cycle asked for and that has come since; each once."""
        begun = self._earlier(cycle)
        if begun is None or not begun.listing.done():
            return None
        self._begun = None
        return begun

    def _earlier(self, cycle: DispatcherCycle) -> Begun | None:
        """The list that an earlier cycle asked for and did not use, unless it is too old."""
        begun = self._begun
        if begun is None or begun.listing is cycle.vm_listing:
            return None
        if has_passed(LONGEST_LOOK, begun.at, cycle.now) or (begun.listing.done() and not begun.is_long(self.short)):
            self._begun = None
            return None
        return begun

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
        self._begun = None
        return listing.result()
