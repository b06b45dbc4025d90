"""Sweep: end the VMs that belong to no run, and those past their lifetime.

A VM without a run is normal for moments (launched, not yet bound), so only old ones are looked at, and each is
looked at again right before it is ended. Nothing is swept on an answer that was not whole.
"""

from dataclasses import dataclass

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.measures import Metric
from agent_stack.domain.policy import Policy
from agent_stack.domain.states import UP
from agent_stack.domain.vms import Vm
from agent_stack.ports import Fleet, Ledger, Telemetry
from agent_stack.stages.ticks import TrackerTick


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Terminates orphans older than the grace, and VMs older than the lifetime, a bounded number a tick."""

    fleet: Fleet
    ledger: Ledger
    policy: Policy
    telemetry: Telemetry

    def __call__(self, tick: TrackerTick) -> TrackerTick:
        """Terminates; changes nothing of the tick."""
        if not tick.described:
            return tick
        owned = {s.run.binding.instance_id for s in tick.situations if s.run.binding is not None}
        suspects: dict[InstanceId, str] = {}
        for vm in tick.vms.values():
            age = tick.now - vm.launched_at
            if vm.state not in UP or vm.instance_id in tick.going:
                continue
            if age > self.policy.max_lifetime:
                suspects[vm.instance_id] = "past its lifetime"
            elif vm.instance_id not in owned and age > self.policy.sweep_grace:
                suspects[vm.instance_id] = "no run is bound to it"
        if suspects:
            self._end(suspects)
        return tick

    def _end(self, suspects: dict[InstanceId, str]) -> None:
        still_up = self._read_again(sorted(suspects))
        owned = self.ledger.bound_instances()
        orphans = [
            vm for vm in still_up if vm.instance_id not in owned or suspects[vm.instance_id] == "past its lifetime"
        ][: self.policy.max_terminations_per_tick]
        if not orphans:
            return
        refused = self.fleet.terminate([vm.instance_id for vm in orphans])
        for vm in orphans:
            if vm.instance_id in refused:
                self.telemetry.warning(
                    "orphan_not_terminated", instance_id=vm.instance_id, error=str(refused[vm.instance_id])
                )
            else:
                self.telemetry.warning("orphan_terminated", instance_id=vm.instance_id, reason=suspects[vm.instance_id])
        self.telemetry.count(Metric.ORPHANS_TERMINATED, len(orphans) - len(refused))

    def _read_again(self, instance_ids: list[InstanceId]) -> list[Vm]:
        try:
            return [vm for vm in self.fleet.describe_only(instance_ids) if vm.state in UP]
        except AgentStackError as error:
            self.telemetry.warning("orphans_unknown", count=len(instance_ids), error=str(error))
            return []
