"""Standby pool: what one dispatcher process knows of the idle standby VMs.

It looks at them beside the cycle: the ledger's list, and what EC2 shows of each VM on it. An idle VM changes seldom, so
a look every 30 s is enough; while VMs come and go it looks more often. Between two looks the process adds what it does
itself. Under a new lease the first look replaces all that it knew. A process looks once in any case: another one may
have left VMs of a class that wants none any more, and somebody has to close them. Then, without a class that wants
some, it looks only for a job, under each lease, where `MaxVcpus` or a class's own maximum counts those VMs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.moments import has_passed, is_due
from agent_stack.domain.standby import StandbyVm
from agent_stack.domain.states import UP
from agent_stack.domain.vms import Vm
from agent_stack.ports import Fleet, StandbyVms, Task, Telemetry, Workers

LOOK_EVERY = timedelta(seconds=30)
LOOK_SOON = timedelta(seconds=5)
"""While a VM boots, or one that is closed has not ended."""

ANSWER_TIMEOUT = timedelta(seconds=2)
"""How long a cycle with jobs waits for the first look under a lease. Without it their VMs are launched cold."""

RECENT = timedelta(seconds=90)
"""Longer than a schedule's minute: a process that is woken by a job knows the VMs from the minute before."""

RETRY_AFTER = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A VM that ended although the ledger lists it as idle."""

    vm: StandbyVm
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """One look, as its task found it."""

    listed: Sequence[StandbyVm]
    shown: Mapping[InstanceId, Vm]


@dataclass(slots=True, kw_only=True)
class StandbyPool:
    """One process's knowledge. The dispatcher's steps change it by its methods alone.

    Attributes:
        write_beside: writes beside the cycle; takes the log message for a failure, and the write.
        max_vcpus: how many vCPUs may be up, standby VMs included; None for no maximum.
    """

    fleet: Fleet
    records: StandbyVms
    workers: Workers
    telemetry: Telemetry
    write_beside: Callable[[str, Callable[[], None]], None]
    max_vcpus: int | None = None
    _vms: dict[InstanceId, StandbyVm] = field(default_factory=dict, init=False)
    _valid: tuple[int, datetime] | None = field(default=None, init=False)
    """The lease, and when the latest look that succeeded began."""
    _look: tuple[int, datetime, int, Task[_Look]] | None = field(default=None, init=False)
    """The lease, when it began, at which version, and its task."""
    _not_before: datetime | None = field(default=None, init=False)
    _changed_at: dict[InstanceId, int] = field(default_factory=dict, init=False)
    """VMs that this process added, closed or gave away, by the version; a look that began earlier says nothing of them.
    A version and no moment, because it grows whatever the clock does."""
    _spoiled: set[InstanceId] = field(default_factory=set, init=False)
    _ended: list[Ended] = field(default_factory=list, init=False)
    version: int = field(default=0, init=False)
    """Grows with each change."""

    def vms(self, cycle: DispatcherCycle) -> tuple[StandbyVm, ...] | None:
        """All VMs on the list that no active run has; None when this process does not know them under this lease.

        Those to which nothing could be bound are among them: until a look shows more, each of them may be up.
        """
        if self._valid is None or self._valid[0] != cycle.fence:
            return None
        return self._without_run(cycle)

    def recent(self, cycle: DispatcherCycle) -> tuple[StandbyVm, ...] | None:
        """What this process knew under an earlier lease not long ago: good enough to try a binding with.

        A binding has a condition of its own, so a VM that another process gave away meanwhile costs a cycle.
        """
        if self._valid is None or not timedelta() <= cycle.now - self._valid[1] < RECENT:
            return None
        return self._without_run(cycle)

    def is_bindable(self, vm: StandbyVm) -> bool:
        """Whether it is worth a try to bind a job to that VM, or to close it."""
        return vm.closing is None and vm.instance_id not in self._spoiled

    def _without_run(self, cycle: DispatcherCycle) -> tuple[StandbyVm, ...]:
        taken = {run.binding.instance_id for run in cycle.active if run.binding is not None}
        return tuple(vm for vm in self._vms.values() if vm.instance_id not in taken)

    def ids(self, cycle: DispatcherCycle) -> frozenset[InstanceId] | None:
        """All VMs on the list; None while this process does not know them under this lease, and there may be some."""
        if self._valid is not None and self._valid[0] == cycle.fence:
            return frozenset(self._vms)
        return None if self._may_be_any(cycle) else frozenset()

    def begin(self, cycle: DispatcherCycle) -> None:
        """Starts a look, if one is due."""
        if self._look is None and self._is_due(cycle):
            self._look = (cycle.fence, cycle.now, self.version, self.workers.submit(self._perform))

    def collect(self, cycle: DispatcherCycle, *, wait: bool) -> None:
        """Takes in a look that is there.

        Args:
            wait: wait a moment for the first look under this lease.
        """
        if self._look is None:
            return
        fence, began, version, task = self._look
        known = self._valid is not None and self._valid[0] == cycle.fence
        if wait and not known and fence == cycle.fence and self._may_be_any(cycle):
            self.workers.wait([task], ANSWER_TIMEOUT)
        if not task.done():
            return
        self._look = None
        try:
            found = task.result()
        except AgentStackError as error:
            self.telemetry.info("standby_vms_unknown", error=str(error))
            self._not_before = cycle.now + RETRY_AFTER
            return
        if fence == cycle.fence:
            self._take_in(found, cycle, began, version)

    def add(self, vms: Sequence[StandbyVm]) -> None:
        """Puts VMs on the list.

        Raises:
            AgentStackError: they may not be on it.
        """
        self.records.add(vms)
        self._vms |= {vm.instance_id: vm for vm in vms}
        self._note(vm.instance_id for vm in vms)

    def close(self, vms: Sequence[StandbyVm]) -> Sequence[StandbyVm]:
        """Closes these VMs; the ones that this call closed. A VM that cannot be closed has a job, and is left alone."""
        if not vms:
            return ()
        try:
            closed = self.records.close(vms)
        except AgentStackError as error:
            self.telemetry.info("standby_not_closed", count=len(vms), error=str(error))
            return ()
        self._vms |= {vm.instance_id: replace(self._vms.get(vm.instance_id, vm), closing=vm.closing) for vm in closed}
        self._note(vm.instance_id for vm in closed)
        self.spoil({vm.instance_id for vm in vms} - {vm.instance_id for vm in closed})
        return closed

    def give(self, instance_ids: Iterable[InstanceId]) -> None:
        """Jobs are bound to these VMs, so they come off the list, beside the cycle."""
        given = [one for one in instance_ids if self._vms.pop(one, None) is not None]
        if given:
            self._note(given)
            self.write_beside("standby_not_removed", partial(self.records.remove, given))

    def spoil(self, instance_ids: Iterable[InstanceId]) -> None:
        """Nothing could be bound to these VMs; until the next look they are left alone."""
        self._spoiled |= set(instance_ids)
        self.version += 1

    def take_ended(self) -> Sequence[Ended]:
        """The VMs that ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def _perform(self) -> _Look:
        """Beside the cycle."""
        listed = self.records.listed()
        shown = self.fleet.describe_by_id([vm.instance_id for vm in listed]) if listed else ()
        return _Look(listed=listed, shown={vm.instance_id: vm for vm in shown})

    def _is_due(self, cycle: DispatcherCycle) -> bool:
        if not self._may_be_any(cycle) and self._valid is not None:
            return False
        if not is_due(self._not_before, cycle.now, longest=RETRY_AFTER):
            return False
        if self._valid is None or self._valid[0] != cycle.fence:
            return True
        young = cycle.book is not None and any(not self._is_settled(vm, cycle) for vm in self._vms.values())
        return has_passed(LOOK_SOON if young or self._spoiled else LOOK_EVERY, self._valid[1], cycle.now)

    def _may_be_any(self, cycle: DispatcherCycle) -> bool:
        wanted = cycle.book is not None and any(one.standby is not None for one in cycle.book.classes.values())
        return wanted or bool(self._vms) or bool(cycle.standby_launches) or self._may_be_left(cycle)

    def _may_be_left(self, cycle: DispatcherCycle) -> bool:
        """Whether a job may need room that VMs take of a class which wants none any more, unknown to this process."""
        if cycle.book is None or not (cycle.active or cycle.listed or cycle.expected_launches):
            return False
        if self._valid is not None and self._valid[0] == cycle.fence:
            return False
        return self.max_vcpus is not None or any(one.max_instances for one in cycle.book.classes.values())

    @staticmethod
    def _is_settled(vm: StandbyVm, cycle: DispatcherCycle) -> bool:
        vm_class = None if cycle.book is None else cycle.book.find(vm.class_name)
        lead = timedelta() if vm_class is None else vm_class.boot_timeout
        return vm.closing is None and vm.is_ready(cycle.now, lead)

    def _take_in(self, found: _Look, cycle: DispatcherCycle, began: datetime, version: int) -> None:
        newer = {one: at for one, at in self._changed_at.items() if at > version}
        seen = {vm.instance_id: vm.seen(found.shown.get(vm.instance_id), cycle.now) for vm in found.listed}
        gone = [vm for vm in seen.values() if vm.state not in UP and vm.instance_id not in newer]
        kept = {one: vm for one, vm in self._vms.items() if one in newer}
        taken = {run.binding.instance_id for run in cycle.active if run.binding is not None}
        self._vms = {one: vm for one, vm in seen.items() if vm.state in UP and one not in newer} | kept
        self._changed_at = newer
        self._spoiled.clear()
        self._valid, self._not_before = (cycle.fence, began), None
        self.version += 1
        self._ended += [
            Ended(vm=vm, reason=found.shown[vm.instance_id].reason if vm.instance_id in found.shown else "")
            for vm in gone
            if vm.closing is None and vm.instance_id not in taken
        ]
        if off := [vm.instance_id for vm in gone] + [one for one in self._vms if one in taken]:
            self.write_beside("standby_not_removed", partial(self.records.remove, off))

    def _note(self, instance_ids: Iterable[InstanceId]) -> None:
        self.version += 1
        self._changed_at |= dict.fromkeys(instance_ids, self.version)
