"""Launch orders: chooses capacity type, pools and request sizes for the VMs of one class."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from agent_stack.domain.attempts import Attempt, excluding_failed_pools
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import VmClass
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.launching import MAX_VMS_OF_A_LAUNCH, LaunchOrder
from agent_stack.domain.quota_room import QuotaRoom, capacity_types_of
from agent_stack.domain.unavailable import choose_capacity_type
from agent_stack.ports import Fleet, Ids, Telemetry


class Place(Protocol):
    """What a VM is asked for."""

    @property
    def tried(self) -> Sequence[Attempt]:
        """The VMs that failed before."""


PlaceT = TypeVar("PlaceT", bound=Place)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOrders:
    """Creates the orders for what one class needs: for its runs, or for its places of standby VMs."""

    fleet: Fleet
    ids: Ids
    telemetry: Telemetry
    _resting: dict[ClassName, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __call__(
        self,
        vm_class: VmClass,
        runs: Sequence[PlaceT],
        memory: LaunchMemory,
        room: QuotaRoom,
        now: datetime,
        *,
        on_their_way: int = 0,
        hold: timedelta | None = None,
    ) -> Iterator[tuple[LaunchOrder, Sequence[PlaceT]]]:
        """Each order with its runs; none when the dispatcher may ask nothing for this class now.

        Args:
            on_their_way: see `LaunchMemory.may_ask`.
            hold: how long the VMs may stand by; None for VMs that jobs wait for.
        """
        name, kinds = vm_class.name, capacity_types_of(vm_class)
        try:
            pools = {kind: self.fleet.pools(vm_class, kind) for kind in kinds}
        except AgentStackError as error:
            self.telemetry.warning("pools_unknown", class_name=name, error=str(error))
            return
        usable = {
            kind: [pool for pool in pools[kind] if memory.is_open(name, pool, now) and room.allows(vm_class, pool)]
            for kind in kinds
        }
        failing = frozenset(kind for kind in kinds if memory.falls_back(name, kind, now))
        chosen = choose_capacity_type(vm_class, {kind: bool(usable[kind]) for kind in kinds}, failing)
        if chosen is None or not memory.may_ask(name, chosen, now, on_their_way=on_their_way):
            if self._resting.get(name) != len(runs):  # said when it changes, for it may last for hours
                self._resting[name] = len(runs)
                self.telemetry.info("pools_unavailable", class_name=name, count=len(runs))
            return
        self._resting.pop(name, None)
        limit = room.limit(vm_class, usable[chosen])
        trouble = memory.backoff(name, chosen)
        if limit is not None or (trouble is not None and trouble.failures):
            runs = runs[
                : min(MAX_VMS_OF_A_LAUNCH, len(runs) if limit is None else limit)
            ]  # one request, then its answer
        asked = excluding_failed_pools(usable[chosen], (run.tried[-1].pool for run in runs if run.tried))
        for start in range(0, len(runs), MAX_VMS_OF_A_LAUNCH):
            chunk = runs[start : start + MAX_VMS_OF_A_LAUNCH]
            order = LaunchOrder(
                intent_id=self.ids.intent_id(),
                vm_class=vm_class,
                count=len(chunk),
                capacity_type=chosen,
                pools=asked,
                hold=hold,
            )
            yield order, chunk

    def may_be_asked(self, vm_class: VmClass, memory: LaunchMemory, now: datetime) -> bool:
        """Whether EC2 could be asked for this class now, quotas apart: it has a pool, and backs off in none."""
        for kind in capacity_types_of(vm_class):
            if not memory.may_ask(vm_class.name, kind, now):
                continue
            try:
                pools = self.fleet.pools(vm_class, kind)
            except AgentStackError:
                return True  # they are not known at the moment
            if any(memory.is_open(vm_class.name, pool, now) for pool in pools):
                return True
        return False
