"""Launch deadline: records why a run got no VM in time, so that the tracker fails the job with that reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.launch_permission import LaunchPermission
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.policy import Policy
from agent_stack.domain.runs import Run
from agent_stack.domain.vms import Vm
from agent_stack.ports import Ledger, Telemetry

BROKEN_GRACE = timedelta(seconds=60)
"""How long a job waits for an operator to fix what EC2 reports as wrong. Then the job fails with EC2's message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchDeadline:
    """Records a failure reason for each run that has waited too long for a VM."""

    ledger: Ledger
    permission: LaunchPermission = field(default_factory=LaunchPermission)
    policy: Policy
    telemetry: Telemetry

    def __call__(
        self, cycle: DispatcherCycle, idle_vms: Mapping[ClassName, tuple[Vm, ...]], memory: LaunchMemory
    ) -> None:
        """Skips runs of a class with idle VMs, because this cycle binds them."""
        late = []
        for run in cycle.ready:
            reason = None if idle_vms.get(run.class_name) else self._reason(run, cycle, memory)
            if reason is not None:
                late.append(run.failing(reason))
        for run in self.ledger.update(late):
            self.telemetry.error("job_given_up", job_id=run.job_id, reason=run.failure_reason)

    def _reason(self, run: Run, cycle: DispatcherCycle, memory: LaunchMemory) -> str | None:
        resumed = self.permission.pauses.resumed_at(run.queue_key)
        waited = cycle.now - max(run.state_entered_at, resumed or run.state_entered_at)  # a pause stops the clock
        breaker = memory.breaker(run.class_name, cycle.now)
        if breaker is not None and waited >= BROKEN_GRACE and cycle.now - breaker.since >= BROKEN_GRACE:
            return f"No VM of class “{run.class_name}” can be launched: {breaker.message}"
        if waited < self.policy.launch_deadline:
            return None
        seconds = round(self.policy.launch_deadline.total_seconds())
        words = memory.last_error_by_class.get(run.class_name)
        because = f" EC2 said last: {words}" if words else ""
        return f"No VM of class “{run.class_name}” could be had within {seconds} s.{because}"
