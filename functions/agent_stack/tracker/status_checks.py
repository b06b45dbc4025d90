"""Status checks: find machines that EC2 calls running and that are dead.

No event tells of a failed check, so EC2 is asked, once a minute, and only while a VM is old enough for checks to mean
something: on the way up they take minutes. What is found is told and decides nothing. A job on a dead machine ends by
Buildkite's word, which misses the agent after minutes, and the machine after its job; a boot ends by its time-out.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.measures import Metric
from agent_stack.domain.runs import Run
from agent_stack.domain.states import VmState
from agent_stack.domain.vms import Vm
from agent_stack.ports import Fleet, Telemetry

CHECK_INTERVAL = timedelta(minutes=1)
"""As often as EC2 checks."""

OLD_ENOUGH = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChecks:
    """Says now and then which of our VMs fail EC2's checks."""

    fleet: Fleet
    telemetry: Telemetry
    _asked_at: list[datetime] = field(default_factory=list, init=False, repr=False)

    def looked_at(self, vms: Collection[Vm], runs: Sequence[Run], now: datetime) -> None:
        """Ask, if it is time and one of these VMs is old enough, and tell of those that are dead."""
        old = {vm.instance_id for vm in vms if vm.state is VmState.RUNNING and now - vm.launched_at >= OLD_ENOUGH}
        if not old or (self._asked_at and now - self._asked_at[-1] < CHECK_INTERVAL):
            return
        self._asked_at[:] = [now]
        try:
            dead = self.fleet.impaired() & old
        except AgentStackError as error:
            self.telemetry.warning("status_checks_unknown", error=str(error))
            return
        jobs = {run.binding.instance_id: run.job_id for run in runs if run.binding is not None}
        for instance_id in sorted(dead):
            self.telemetry.warning("vm_impaired", instance_id=instance_id, job_id=jobs.get(instance_id))
        self.telemetry.peak(Metric.VMS_IMPAIRED, len(dead))
