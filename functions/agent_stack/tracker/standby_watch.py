"""Standby watch: reads the ledger's list of standby VMs, while EC2 shows one that has no run.

Idle VMs keep no tracker busy: they are looked at by the invocation that the schedule starts each minute, and while jobs
run, every few seconds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.moments import has_passed
from agent_stack.domain.runs import Run
from agent_stack.domain.standby import StandbyVm
from agent_stack.domain.states import UP
from agent_stack.domain.vms import Vm
from agent_stack.ports import StandbyVms, Telemetry

READ_EVERY = timedelta(seconds=5)
"""A closed VM powers itself off within a second. The tracker ends those that do not, and that is not urgent."""


@dataclass(slots=True, kw_only=True)
class StandbyWatch:
    """One process's latest reading."""

    records: StandbyVms
    telemetry: Telemetry
    _read: tuple[datetime, Mapping[InstanceId, StandbyVm]] | None = field(default=None, init=False)

    def __call__(self, vms: Iterable[Vm], runs: Sequence[Run], now: datetime) -> Mapping[InstanceId, StandbyVm] | None:
        """What the ledger says of the standby VMs without a run; None when it does not answer."""
        owned = {run.binding.instance_id for run in runs if run.binding is not None}
        idle = {vm.instance_id for vm in vms if vm.hold is not None and vm.state in UP} - owned
        if not idle:
            return {}
        if self._read is None or has_passed(READ_EVERY, self._read[0], now) or idle - self._read[1].keys():
            try:
                self._read = (now, {vm.instance_id: vm for vm in self.records.listed()})
            except AgentStackError as error:
                self.telemetry.info("standby_vms_unknown", error=str(error))
                return None
        return {one: vm for one, vm in self._read[1].items() if one in idle}
