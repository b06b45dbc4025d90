"""vCPU meter: how many seconds of vCPUs the VMs that are up have used since the last cycle.

EC2 bills a VM by its size and by the time it is up, so an alarm can make money of these seconds. They are counted while
VMs run, and not when they end, because a VM that never ends is the one that costs. VMs that stand by keep no tracker
busy: the dispatcher counts them (`replenish`).
"""

from dataclasses import dataclass, field
from datetime import timedelta

from agent_stack.domain.states import UP
from agent_stack.tracker.cycle import TrackerCycle

NOTHING = timedelta()
LONGEST_GAP = timedelta(minutes=2)
"""Between two invocations of a schedule that fires each minute, anywhere in it. In a longer one a clock was set, or the
tracker did not run; what VMs cost then is not known."""


@dataclass(slots=True, kw_only=True)
class VcpuMeter:
    """Counts from cycle to cycle of one lease, and of the next one where this process has that, too.

    Fencing numbers grow by one, so nobody counted in between. Under any other lease another process has counted.
    """

    _fence: int | None = field(default=None, init=False)
    _counted_until: timedelta = field(default=NOTHING, init=False)
    _rest: float = field(default=0.0, init=False)

    def read(self, cycle: TrackerCycle) -> int:
        """Whole vCPU seconds since the last cycle in which EC2's answer was complete; the rest counts next time."""
        since = self._since(cycle)
        self._fence, self._counted_until = cycle.fence, cycle.began
        for vm in cycle.vms.values():
            if vm.state in UP and not cycle.stands_by(vm):  # a VM that is up now was up since its launch
                self._rest += vm.vcpus * max(NOTHING, min(since, cycle.now - vm.launched_at)).total_seconds()
        used = int(self._rest)
        self._rest -= used
        return used

    def _since(self, cycle: TrackerCycle) -> timedelta:
        since = cycle.began - self._counted_until
        if self._fence is None or cycle.fence not in {self._fence, self._fence + 1}:
            return NOTHING
        return since if cycle.fence == self._fence else min(since, LONGEST_GAP)
