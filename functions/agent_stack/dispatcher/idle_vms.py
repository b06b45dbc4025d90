"""Idle VMs: which VMs of earlier launches, that no run has, are up and can be bound now."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.policy import Policy
from agent_stack.domain.states import UP
from agent_stack.domain.vms import Vm
from agent_stack.outages import Outages
from agent_stack.ports import Fleet, Telemetry

_IDLE = "idle VMs"

NOT_SHOWN_YET = timedelta(seconds=30)
"""How long after a request EC2's answers may leave out a VM that it launched. So long a list proves nothing, and a VM
whose launch EC2 has answered is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a look at idle VMs showed.

    Attributes:
        alive: those that are up, by class, at their true age.
        hidden: how many EC2 does not show, which may be up, too.
        coming: how many of the hidden ones, by class, EC2 may show soon, so that none is asked for in their place.
    """

    alive: Mapping[ClassName, tuple[Vm, ...]] = field(default_factory=dict)
    hidden: int = 0
    coming: Counter[ClassName] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleVms:
    """Asks EC2, because the answer to a replay may name dead or old VMs."""

    fleet: Fleet
    policy: Policy
    telemetry: Telemetry
    _outages: Outages = field(default_factory=Outages, init=False, repr=False, compare=False)

    def look(self, idle: Mapping[ClassName, Sequence[Vm]], now: datetime) -> Looked:
        """Which of these VMs are up. While EC2 does not answer, all may be."""
        instance_ids = [vm.instance_id for vms in idle.values() for vm in vms]
        if not instance_ids:
            return Looked()
        try:
            shown = {vm.instance_id: vm for vm in self.fleet.describe_by_id(instance_ids)}
        except AgentStackError as error:
            self._outages.passing(_IDLE, self.telemetry, "idle_vms_unknown", count=len(instance_ids), error=str(error))
            return Looked(hidden=len(instance_ids), coming=Counter({name: len(vms) for name, vms in idle.items()}))
        self._outages.is_over(_IDLE)
        fit = {vm_id: vm for vm_id, vm in shown.items() if vm.state in UP and self.is_young(vm, now)}
        return Looked(
            alive={
                name: tuple(fit[vm.instance_id] for vm in vms if vm.instance_id in fit) for name, vms in idle.items()
            },
            hidden=len(instance_ids) - len(shown),
            coming=Counter(
                name
                for name, vms in idle.items()
                for vm in vms
                if vm.instance_id not in shown and now - vm.launched_at < NOT_SHOWN_YET
            ),
        )

    def is_young(self, vm: Vm, now: datetime) -> bool:
        """Whether a run can still be bound to it; an older one may be about to end itself."""
        return now - vm.launched_at < self.policy.bindable_age
