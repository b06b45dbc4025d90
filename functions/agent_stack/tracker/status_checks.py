"""Status checks: finds VMs that EC2 shows as running and that fail EC2's status checks.

EC2 sends no event for a failed check. So the tracker asks once a minute, and only while a VM is old enough, because the
checks of a new VM take minutes. The result is logged and measured; no decision depends on it. Buildkite ends the job on
such a VM when it misses the agent, and the VM ends after its job. A boot ends by its timeout.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.measures import Metric
from agent_stack.domain.moments import has_passed
from agent_stack.domain.runs import Run
from agent_stack.domain.states import VmState
from agent_stack.domain.vms import Vm
from agent_stack.outages import Outages
from agent_stack.ports import Fleet, Telemetry

CHECK_INTERVAL = timedelta(minutes=1)
"""EC2 itself checks this often."""

OLD_ENOUGH = timedelta(minutes=10)
_CHECKS = "status checks"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChecks:
    """Logs, once in each interval, which VMs of this deployment fail EC2's checks."""

    fleet: Fleet
    telemetry: Telemetry
    _asked_at: list[datetime] = field(default_factory=list, init=False, repr=False)
    _outages: Outages = field(default_factory=Outages, init=False, repr=False)

    def looked_at(self, vms: Collection[Vm], runs: Sequence[Run], now: datetime) -> None:
        """Asks EC2 if the interval is over and a VM is old enough, and logs the impaired VMs."""
        old = {vm.instance_id for vm in vms if vm.state is VmState.RUNNING and now - vm.launched_at >= OLD_ENOUGH}
        if not old or not has_passed(CHECK_INTERVAL, next(iter(self._asked_at), None), now):
            return
        self._asked_at[:] = [now]
        try:
            impaired = self.fleet.impaired() & old
        except AgentStackError as error:
            self._outages.passing(_CHECKS, self.telemetry, "status_checks_unknown", error=str(error))
            return
        self._outages.is_over(_CHECKS)
        jobs = {run.binding.instance_id: run.job_id for run in runs if run.binding is not None}
        for instance_id in sorted(impaired):
            self.telemetry.warning("vm_impaired", instance_id=instance_id, job_id=jobs.get(instance_id))
        self.telemetry.peak(Metric.VMS_IMPAIRED, len(impaired))
