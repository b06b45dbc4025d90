"""Cycle: what one tracker cycle carries from step to step. One step writes each field; later steps read it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from agent_stack.domain.decisions import Decision
from agent_stack.domain.holds import Hold
from agent_stack.domain.identifiers import InstanceId, JobId, QueueKey
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import Situation
from agent_stack.domain.standby import OVERSTAY, StandbyVm
from agent_stack.domain.states import UP
from agent_stack.domain.vms import Vm
from agent_stack.ports import Notification


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One run, the facts about it, and the decision."""

    situation: Situation
    decision: Decision

    @property
    def run(self) -> Run:
        """The run as last recorded."""
        return self.situation.run


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerCycle:
    """One pass over all active runs and VMs.

    Attributes:
        began: when the cycle began, by the monotonic clock.
        fence: the fencing number of the lease under which it runs.
        described: observe → EC2's answer was complete.
        vms: observe → the VMs of this deployment that EC2 showed, by id.
        standby: observe → what the ledger says of standby VMs without a run; None when it does not answer.
        situations: observe → the facts about every active run.
        verdicts: decide, revoke, and each later step → the decisions, on the runs as last recorded.
        held: hold failed VMs → the VMs that stay up because their boot failed, by id; None when they could not be read.
        resting: hold failed VMs → those of them that need nothing until their time is over.
        going: terminate → VMs that are ending, or that EC2 agreed to terminate in this cycle.
        terminations: terminate → how many VMs EC2 was asked to terminate; MaxTerminationsPerTick limits their sum.
        extended: extend → the runs whose reservation was extended.
        notifications: remember notices, notify waiting → what the build pages get at the end of the cycle.
    """

    now: datetime
    began: timedelta = timedelta()
    fence: int = 0
    described: bool = False
    vms: Mapping[InstanceId, Vm] = field(default_factory=dict)
    standby: Mapping[InstanceId, StandbyVm] | None = field(default_factory=dict)
    situations: tuple[Situation, ...] = ()
    verdicts: Mapping[JobId, Verdict] = field(default_factory=dict)
    held: Mapping[InstanceId, Hold] | None = field(default_factory=dict)
    resting: frozenset[InstanceId] = frozenset()
    going: frozenset[InstanceId] = frozenset()
    terminations: int = 0
    extended: tuple[Run, ...] = ()
    notifications: tuple[tuple[QueueKey, Notification], ...] = ()

    def is_held(self, instance_id: InstanceId) -> bool:
        """Whether that VM stays up, although its run is over or gets another VM."""
        return self.held is not None and instance_id in self.held

    @property
    def busy(self) -> bool:
        """Whether a run is active or a VM is up that neither waits for a job, nor is held and needs nothing."""
        return bool(self.situations) or any(
            vm.state in UP and not self.stands_by(vm) and vm.instance_id not in self.resting for vm in self.vms.values()
        )

    def stands_by(self, vm: Vm) -> bool:
        """Whether that VM waits for a job, as far as is known: listed as idle, and its hold is not over for long."""
        if vm.hold is None or self.now >= vm.launched_at + vm.hold + OVERSTAY:
            return False
        listed = None if self.standby is None else self.standby.get(vm.instance_id)
        return self.standby is None or (listed is not None and listed.closing is None)

    def is_closed(self, vm: Vm) -> bool:
        """Whether the dispatcher closed that standby VM: no job can be bound to it any more."""
        listed = None if self.standby is None else self.standby.get(vm.instance_id)
        return listed is not None and listed.closing is not None

    def births(self) -> Mapping[InstanceId, datetime]:
        """When the lifetime of each VM began: at its launch; a standby VM's at its binding or after its hold."""
        bound = {s.run.binding.instance_id: s.run.vm_since for s in self.situations if s.run.binding is not None}
        return {
            one: vm.launched_at if vm.hold is None else bound.get(one) or vm.launched_at + vm.hold
            for one, vm in self.vms.items()
        }

    def with_runs(self, runs: Iterable[Run]) -> dict[JobId, Verdict]:
        """The verdicts, with these newer versions of the runs."""
        newer = {
            run.job_id: replace(
                self.verdicts[run.job_id], situation=replace(self.verdicts[run.job_id].situation, run=run)
            )
            for run in runs
        }
        return {**self.verdicts, **newer}


TrackerStep = Callable[[TrackerCycle], TrackerCycle]
