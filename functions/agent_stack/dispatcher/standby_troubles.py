"""Standby troubles: learns which classes' standby VMs do not do what they are for, from runs and from ended VMs.

A run that lost a standby VM before it had an agent shows it in what it tried; a run whose standby VM took the job is
RUNNING. A VM that ended soon after its launch, by itself and before its hold was over, was not prepared.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from agent_stack.dispatcher.capacity_cache import CapacityCache
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.standby_pool import Ended, StandbyPool
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import base_name
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.measures import Metric
from agent_stack.domain.policy import Policy
from agent_stack.domain.runs import Run
from agent_stack.domain.standby import StandbyVm
from agent_stack.domain.standby_trouble import Trouble, current
from agent_stack.domain.states import CapacityType, RunState
from agent_stack.ports import Telemetry

BY_ITSELF = "Client.InstanceInitiatedShutdown"
"""EC2's state reason of a VM that powered itself off. Source: EC2's state reason codes."""

SEEN_WITHIN = timedelta(minutes=2)
"""After the longest boot: how late a look may see that a VM has ended."""


def has_stood_by(run: Run) -> bool:
    """Whether the run's VM stood by, or the latest one that it lost."""
    return run.binding.standby if run.binding is not None else bool(run.tried and run.tried[-1].standby)


@dataclass(frozen=True, slots=True, kw_only=True)
class StandbyTroubles:
    """Keeps them in the launch memory."""

    pool: StandbyPool
    capacity: CapacityCache
    policy: Policy
    telemetry: Telemetry

    def __call__(self, cycle: DispatcherCycle, known: Sequence[StandbyVm]) -> LaunchMemory:
        """The launch memory with what this cycle shows."""
        memory = self.capacity.under(cycle.fence)
        before = current(memory.standby, cycle.now)
        after = dict(before)
        by_class: dict[ClassName, list[Run]] = defaultdict(list)
        for run in cycle.active:
            by_class[base_name(run.class_name)].append(run)  # a job's choices and its fallback have none
        for name, runs in by_class.items():
            after[name] = self._of_runs(after.get(name), runs, cycle)
        for ended in self.pool.take_ended():
            name = ended.vm.class_name
            after[name] = self._of_ended(after.get(name), ended, cycle)
        for vm in known:
            trouble = after.get(vm.class_name)  # an older VM says nothing of how boots go since
            if trouble is not None and vm.launched_at > trouble.at and self._is_ready(vm, cycle):
                after[vm.class_name] = trouble.prepared(cycle.now)
        learnt = {name: one for name, one in after.items() if one != Trouble(at=one.at)}
        for name, one in learnt.items():
            self._say(name, before.get(name), one, cycle)
        self.telemetry.peak(Metric.STANDBY_SUSPENDED, sum(one.is_suspended(cycle.now) for one in learnt.values()))
        if learnt != memory.standby:
            memory = replace(memory, standby=learnt)
            self.capacity.learn(memory, cycle.fence)
        return memory

    def _of_runs(self, trouble: Trouble | None, runs: Sequence[Run], cycle: DispatcherCycle) -> Trouble:
        known = trouble or Trouble(at=cycle.now)
        latest = known.missed_at
        lost = [run for run in runs if run.state is RunState.RESERVED and run.tried and run.tried[-1].standby]
        missed = [run.state_entered_at for run in lost if latest is None or run.state_entered_at > latest]
        took = [
            run.state_entered_at
            for run in runs
            if run.state is RunState.RUNNING and run.binding is not None and run.binding.standby
        ]
        if missed:
            self.telemetry.count(Metric.STANDBY_MISSES, len(missed))
            known = known.missed(len(missed), latest=max(missed), now=cycle.now)
        if took and (known.missed_at is None or max(took) > known.missed_at):
            known = known.hit(cycle.now)
        return known

    def _of_ended(self, trouble: Trouble | None, ended: Ended, cycle: DispatcherCycle) -> Trouble:
        known = trouble or Trouble(at=cycle.now)
        vm_class = None if cycle.book is None else cycle.book.find(ended.vm.class_name)
        lead = timedelta() if vm_class is None else vm_class.boot_timeout
        if ended.reason != BY_ITSELF or cycle.now - ended.vm.launched_at > lead + SEEN_WITHIN:
            return known
        instance_id = ended.vm.instance_id
        log = f" Its log: {self.policy.vm_log_url}{instance_id}" if self.policy.vm_log_url else ""
        # A spot VM powers itself off at EC2's notice, too, and nothing that EC2 shows tells the two apart.
        taken = ", or because EC2 takes it back" if ended.vm.capacity_type is CapacityType.SPOT else ""
        words = f"VM {instance_id} powered itself off before it was prepared{taken}.{log}"
        return known.ended([instance_id], words, cycle.now)

    @staticmethod
    def _is_ready(vm: StandbyVm, cycle: DispatcherCycle) -> bool:
        vm_class = None if cycle.book is None else cycle.book.find(vm.class_name)
        return vm_class is not None and vm.is_ready(cycle.now, vm_class.boot_timeout)

    def _say(self, name: ClassName, before: Trouble | None, after: Trouble, cycle: DispatcherCycle) -> None:
        suspended, retry_at = (None, None) if before is None else (before.suspended_until, before.retry_at)
        if after.suspended_until != suspended and after.is_suspended(cycle.now):
            self.telemetry.error("standby_suspended", class_name=name, reason=after.reason)
        if after.retry_at is not None and after.retry_at != retry_at:
            seconds = round((after.retry_at - cycle.now).total_seconds())
            self.telemetry.error("standby_unprepared", class_name=name, reason=after.reason, pause_seconds=seconds)
