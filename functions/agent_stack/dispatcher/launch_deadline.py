"""Launch deadline: records why a run got no VM in time, so that the tracker fails the job with that reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_stack.best_effort import written
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.launch_permission import LaunchPermission
from agent_stack.dispatcher.vcpu_cache import VcpuCache
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import VmClass, base_name
from agent_stack.domain.identifiers import Bucket, ClassName
from agent_stack.domain.policy import Policy
from agent_stack.domain.quota_room import QuotaRoom
from agent_stack.domain.quotas import Ceiling, held_since
from agent_stack.domain.runs import Run
from agent_stack.domain.vms import Vm
from agent_stack.domain.waiting import WaitReason
from agent_stack.ports import Ledger, Telemetry

BROKEN_GRACE = timedelta(seconds=60)
"""How long a job waits for an operator to fix what EC2 reports as wrong. Then the job fails with EC2's message."""

_NO_ROOM = {
    WaitReason.MAX_VCPUS: " It needs more vCPUs than MaxVcpus leaves. Raise MaxVcpus, or name smaller types.",
    WaitReason.CLASS_MAXIMUM: " The max_instances of the class leaves no room.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchDeadline:
    """Records a failure reason for each run that has waited too long for a VM."""

    ledger: Ledger
    vcpus: VcpuCache
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
        for run in written(self.ledger.update, late, self.telemetry):
            self.telemetry.error("job_failed_by_stack", job_id=run.job_id, reason=run.failure_reason)

    def _reason(self, run: Run, cycle: DispatcherCycle, memory: LaunchMemory) -> str | None:
        resumed = self.permission.pauses.resumed_at(run.queue_key)
        since = max(run.state_entered_at, resumed or run.state_entered_at)  # a pause stops the clock
        waited = cycle.now - since
        breaker = memory.breaker(run.class_name, cycle.now)
        if (
            breaker is not None
            and breaker.definite
            and waited >= BROKEN_GRACE
            and cycle.now - breaker.since >= BROKEN_GRACE
        ):
            return f"No VM of class “{run.class_name}” can be launched: {breaker.message}"
        vm_class = None if cycle.book is None else cycle.book.find(run.class_name)
        full = self._full(vm_class, memory, cycle)
        waited -= self._held(since, vm_class, memory, cycle) + held_since(memory.preempting, since)
        if waited < self.policy.launch_deadline:
            return None
        seconds = round(self.policy.launch_deadline.total_seconds())
        if full is not None:
            bucket, ceiling = full
            return f"No VM of class “{run.class_name}” within {seconds} s. A quota is full: {ceiling.words(bucket)}"
        broken = cycle.book.why_broken(run.class_name) if cycle.book is not None else None
        words = memory.last_error_by_class.get(base_name(run.class_name))
        because = f" The class cannot be used: {broken}" if broken else f" Last EC2 error: {words}" if words else ""
        because = _NO_ROOM.get(cycle.held_back.get(run.class_name, WaitReason.PAUSED), because)
        return f"No VM of class “{run.class_name}” could be launched within {seconds} s.{because}"

    def _full(
        self, vm_class: VmClass | None, memory: LaunchMemory, cycle: DispatcherCycle
    ) -> tuple[Bucket, Ceiling] | None:
        return None if vm_class is None or not memory.quotas else self._room(memory, cycle).full_of(vm_class)

    def _held(
        self, since: datetime, vm_class: VmClass | None, memory: LaunchMemory, cycle: DispatcherCycle
    ) -> timedelta:
        """How long VMs of this deployment filled the quotas since then; the run's deadline stood still meanwhile."""
        if vm_class is None or not memory.quotas:
            return timedelta()
        buckets = self._room(memory, cycle).sizes(vm_class)
        if any(bucket not in memory.quotas for bucket in buckets):
            return timedelta()
        if all(memory.quotas[bucket].never_fits(size) for bucket, size in buckets.items()):
            return timedelta()  # no VM that ends makes room for it
        return min(memory.quotas[bucket].held_since(since) for bucket in buckets)

    def _room(self, memory: LaunchMemory, cycle: DispatcherCycle) -> QuotaRoom:
        return QuotaRoom(quotas=memory.quotas, vcpus=self.vcpus.known, now=cycle.now)
