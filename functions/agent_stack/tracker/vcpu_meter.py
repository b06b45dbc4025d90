"""vCPU meter: how many seconds of vCPUs the VMs that are up have used since the last cycle.

EC2 bills a VM by its size and by the time it is up, so an alarm can make money of these seconds. They are counted while
VMs run, and not when they end, because a VM that never ends is the one that costs. VMs that stand by keep no tracker
busy: the dispatcher counts them (`replenish`).
"""

from dataclasses import dataclass, field

from agent_stack.domain.states import UP
from agent_stack.lease_time import NOTHING, LeaseTime
from agent_stack.tracker.cycle import TrackerCycle


@dataclass(slots=True, kw_only=True)
class VcpuMeter:
    """Counts from cycle to cycle."""

    _time: LeaseTime = field(default_factory=LeaseTime, init=False)
    _rest: float = field(default=0.0, init=False)

    def read(self, cycle: TrackerCycle) -> int:
        """Whole vCPU seconds since the last cycle in which EC2's answer was complete; the rest counts next time."""
        since = self._time.passed(fence=cycle.fence, began=cycle.began)
        bound = {s.run.binding.instance_id: s.run.vm_since for s in cycle.situations if s.run.binding is not None}
        for vm in cycle.vms.values():
            if vm.state in UP and (vm.instance_id in bound or not cycle.stands_by(vm)):
                # A VM that is up now was up since its launch; one that stood by was the dispatcher's until its binding.
                its_own = cycle.now - (bound.get(vm.instance_id) or vm.launched_at)
                self._rest += vm.vcpus * max(NOTHING, min(since, its_own)).total_seconds()
        used = int(self._rest)
        self._rest -= used
        return used
