"""Sweep: end the VMs that belong to no run, and those past their lifetime.

A VM without a run is normal for moments (launched, not yet bound), so only old ones are looked at, and each is
looked at again right before it is ended. Nothing is swept on an answer that was not whole.

A sweep that wants to end much of the fleet is more likely wrong than right: a ledger that was emptied or restored, or
another deployment of our name. It stops, and an operator is told. What it would have ended costs little meanwhile: a
VM without a job powers itself off, one with a job does after it, and none outlives its lifetime, which is swept on.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.measures import Metric
from agent_stack.domain.policy import Policy
from agent_stack.domain.states import UP, VmState
from agent_stack.domain.vms import Vm
from agent_stack.ports import Fleet, Ledger, Telemetry
from agent_stack.tracker.cycle import TrackerCycle

MAX_SHARE = 0.3
"""Of the VMs that are up: a zone's worth of three. Whatever loses more than that at once is not everyday."""

ALWAYS_ALLOWED = 10
"""So many are swept whatever their share: small fleets would be held for nothing."""

WARN_INTERVAL = timedelta(minutes=1)
LIFETIME, ORPHAN = "past its lifetime", "no run is bound to it"

CLEANABLE = UP | {VmState.STOPPED}
"""A stopped VM runs nothing and can be started again; its disk is paid for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanCleanup:
    """Terminates orphans older than the grace, and VMs older than the lifetime, a bounded number a cycle."""

    fleet: Fleet
    ledger: Ledger
    policy: Policy
    telemetry: Telemetry
    _told_at: list[datetime] = field(default_factory=list, init=False, repr=False)

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Terminates; changes nothing of the cycle."""
        if not cycle.described:
            return cycle
        owned = {s.run.binding.instance_id for s in cycle.situations if s.run.binding is not None}
        old: list[Vm] = []
        strays: list[Vm] = []
        for vm in sorted(cycle.vms.values(), key=lambda vm: vm.launched_at):
            age = cycle.now - vm.launched_at
            if vm.state not in CLEANABLE or vm.instance_id in cycle.going:
                continue
            if age > self.policy.max_lifetime:
                old.append(vm)
            elif vm.instance_id not in owned and age > self.policy.orphan_grace:
                strays.append(vm)
        if not old and not strays:
            return cycle
        if strays:
            bound = self.ledger.bound_instances()
            strays = [vm for vm in strays if vm.instance_id not in bound]
            if self._too_many(len(strays), cycle):
                strays = []
        suspects = {vm.instance_id: ORPHAN for vm in strays} | {vm.instance_id: LIFETIME for vm in old}
        self._end(suspects, self.policy.max_terminations_per_cycle - cycle.terminations)
        return cycle

    def _too_many(self, strays: int, cycle: TrackerCycle) -> bool:
        up = sum(vm.state in UP for vm in cycle.vms.values())
        if strays <= max(ALWAYS_ALLOWED, MAX_SHARE * up):
            self._told_at.clear()
            return False
        self.telemetry.peak(Metric.ORPHAN_CLEANUP_LIMITED, strays)
        if not self._told_at or cycle.now - self._told_at[-1] >= WARN_INTERVAL:
            self._told_at[:] = [cycle.now]
            self.telemetry.error(
                "sweep_braked",
                count=strays,
                up=up,
                reason="No run is bound to these VMs, and they are too many to be ended unseen: is the ledger whole?",
                remedy="Terminate those you know to be idle; each ends by itself after its job, and at its lifetime.",
            )
        return True

    def _end(self, suspects: dict[InstanceId, str], at_most: int) -> None:
        """End those that EC2, and then the ledger, still show as they were: in that order, for see `observe`."""
        still_up = self._read_again(list(suspects)[: max(0, at_most)])
        if not still_up:
            return
        owned = self.ledger.bound_instances()
        going = [vm for vm in still_up if vm.instance_id not in owned or suspects[vm.instance_id] == LIFETIME]
        if not going:
            return
        refused = self.fleet.terminate([vm.instance_id for vm in going])
        for vm in going:
            if vm.instance_id in refused:
                self.telemetry.warning(
                    "orphan_not_terminated", instance_id=vm.instance_id, error=str(refused[vm.instance_id])
                )
            else:
                self.telemetry.warning("orphan_terminated", instance_id=vm.instance_id, reason=suspects[vm.instance_id])
        self.telemetry.count(Metric.ORPHANS_TERMINATED, len(going) - len(refused))

    def _read_again(self, instance_ids: list[InstanceId]) -> list[Vm]:
        if not instance_ids:
            return []
        try:
            return [vm for vm in self.fleet.describe_by_id(instance_ids) if vm.state in CLEANABLE]
        except AgentStackError as error:
            self.telemetry.warning("orphans_unknown", count=len(instance_ids), error=str(error))
            return []
