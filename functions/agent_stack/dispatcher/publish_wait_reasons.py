"""Publish wait reasons: writes the list of jobs that wait for a VM, and why. The tracker notifies their build pages.

The list is written beside the cycle, when it changed and at most every 10 s, because losing one version costs no more
than one notification.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from agent_stack.dispatcher.capacity_cache import CapacityCache
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.vcpu_cache import VcpuCache
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import VmClass, base_name
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.moments import has_passed
from agent_stack.domain.policy import Policy
from agent_stack.domain.quota_room import QuotaRoom, capacity_types_of
from agent_stack.domain.states import RunState
from agent_stack.domain.waiting import MAX_LISTED, PATIENCE, Waiting, WaitingList, WaitReason
from agent_stack.ports import Ledger, Telemetry, Workers

MIN_INTERVAL = timedelta(seconds=10)
"""500 jobs take about 20 KB, and DynamoDB bills a write unit for each KB."""

REFRESH_INTERVAL = timedelta(seconds=60)
"""An unchanged list is written again, so that its age shows whether the dispatcher still runs."""


@dataclass(slots=True, kw_only=True)
class PublishWaitReasons:
    """Lists the runs without a VM and the jobs that were not admitted, first in line first."""

    capacity: CapacityCache
    vcpus: VcpuCache
    ledger: Ledger
    workers: Workers
    policy: Policy
    telemetry: Telemetry
    _published: WaitingList | None = field(default=None, init=False)

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Returns the cycle unchanged."""
        jobs = (*cycle.unmatched, *self._paused(cycle), *self._without_vm(cycle), *cycle.waiting)[:MAX_LISTED]
        if self._is_due(jobs, cycle.now):
            self._published = WaitingList(at=cycle.now, jobs=jobs)
            self.workers.submit(partial(self._write, self._published))
        return cycle

    def _is_due(self, jobs: Sequence[Waiting], now: datetime) -> bool:
        before = self._published
        if before is None:
            return bool(jobs)
        if not has_passed(MIN_INTERVAL, before.at, now):
            return False
        return jobs != before.jobs or (bool(jobs) and has_passed(REFRESH_INTERVAL, before.at, now))

    @staticmethod
    def _paused(cycle: DispatcherCycle) -> Iterator[Waiting]:
        """Reserved jobs without a VM of queues that the operator paused."""
        for run in cycle.active if cycle.operator_paused else ():
            pause = cycle.operator_paused.get(run.queue_key)
            without_vm = run.state is RunState.RESERVED and run.failure_reason is None
            if pause is not None and without_vm and cycle.now - run.state_entered_at >= PATIENCE:
                yield Waiting(
                    job_id=run.job_id,
                    queue_key=run.queue_key,
                    class_name=run.class_name,
                    reason=WaitReason.PAUSED,
                    words=pause.words,
                )

    def _without_vm(self, cycle: DispatcherCycle) -> list[Waiting]:
        """Reserved jobs that have waited for a VM for `PATIENCE` or longer."""
        bound = {run.job_id for run in cycle.bound}
        late = [run for run in cycle.ready if run.job_id not in bound and cycle.now - run.state_entered_at >= PATIENCE]
        if not late or cycle.book is None:
            return []
        memory = self.capacity.under(cycle.fence)
        names = {run.class_name for run in late}
        reasons = {name: self._why(name, memory, cycle) for name in names}
        waiting: list[Waiting] = []
        for run in late[:MAX_LISTED]:
            reason, words = reasons[run.class_name]
            if reason is not None:
                waiting.append(
                    Waiting(
                        job_id=run.job_id,
                        queue_key=run.queue_key,
                        class_name=run.class_name,
                        reason=reason,
                        words=words,
                    )
                )
        return waiting

    def _why(self, name: ClassName, memory: LaunchMemory, cycle: DispatcherCycle) -> tuple[WaitReason | None, str]:
        """Why EC2 launches no VM of this class, as far as the dispatcher knows, and EC2's message."""
        if not self.policy.launch_enabled:
            return WaitReason.LAUNCH_DISABLED, ""
        now = cycle.now
        broken = cycle.book.why_broken(name) if cycle.book is not None else None
        breaker = memory.breaker(name, now)
        if broken is not None or breaker is not None:
            return WaitReason.BROKEN, broken or (breaker.message if breaker is not None else "")
        vm_class = cycle.book.find(name) if cycle.book is not None else None
        told = None if vm_class is None else self._by_lessons(vm_class, memory, now)
        if told is not None:
            return told
        if not memory.worth_asking(max(1, cycle.wanted_launches), self.policy.instance_budget, now):
            return WaitReason.EC2_BUDGET, ""
        if (held := cycle.held_back.get(name)) is not None:
            return held, f"{vm_class.max_instances}" if vm_class and held is WaitReason.CLASS_MAXIMUM else ""
        return None, ""

    def _by_lessons(self, vm_class: VmClass, memory: LaunchMemory, now: datetime) -> tuple[WaitReason, str] | None:
        """What EC2 refused lately that this class needs, the widest first."""
        full = QuotaRoom(quotas=memory.quotas, vcpus=self.vcpus.known, now=now).full_of(vm_class)
        if full is not None:
            return WaitReason.QUOTA, full[1].words(full[0])
        name, kind = vm_class.name, vm_class.capacity_type
        backoff = memory.backoff(name, capacity_types_of(vm_class)[-1])
        if backoff is not None and backoff.failures:
            return WaitReason.REFUSED, backoff.message
        words = memory.last_error_by_class.get(base_name(name), "")
        unavailable = memory.unavailable(now)
        if kind in unavailable:
            return WaitReason.QUOTA, words  # as version 0.1.0 keeps it: all of a capacity type
        if any(one.startswith(f"{kind}:{own}:") for one in unavailable for own in vm_class.instance_types):
            return WaitReason.NO_CAPACITY, words
        refused = [one for key, one in memory.refused.items() if key.startswith(f"{base_name(name)}|")]
        return next(((WaitReason.REFUSED, one.message) for one in reversed(refused) if one.until > now), None)

    def _write(self, waiting: WaitingList) -> None:
        try:
            self.ledger.list_waiting(waiting)
        except AgentStackError as error:
            self.telemetry.info("waiting_jobs_not_listed", count=len(waiting.jobs), error=str(error))
