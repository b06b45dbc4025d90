"""Orphan cleanup: terminates VMs that belong to no run, VMs past their lifetime, and held VMs whose time is over.

A VM without a run is normal for a short time (launched, not yet bound). So the cleanup considers only old VMs, and
reads each one again right before its termination. It terminates nothing when EC2's answer was incomplete.

A cleanup that would terminate a large part of the fleet is probably wrong: the ledger was emptied or restored, or
another deployment has the same name. Then the cleanup stops and logs an error for the operator. This costs little: a VM
without a job powers itself off, a VM with a job powers itself off after the job, and the cleanup still terminates VMs
past their lifetime. VMs of a recorded launch whose jobs were cancelled before they got one are no such sign; they end
within seconds (`surplus_vms`).
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.measures import Metric
from agent_stack.domain.moments import has_passed
from agent_stack.domain.policy import Policy
from agent_stack.domain.states import UP, VmState
from agent_stack.domain.vms import Vm
from agent_stack.outages import Outages
from agent_stack.ports import Fleet, Ledger, Telemetry
from agent_stack.tracker.cycle import TrackerCycle
from agent_stack.tracker.surplus_vms import SurplusVms

MAX_SHARE = 0.3
"""Part of the VMs that are up: about one zone of three. More orphans at once are not a normal failure."""

ALWAYS_ALLOWED = 10
"""This many orphans are terminated even above that share, because a few VMs are a large share of a small fleet."""

WARN_INTERVAL = timedelta(minutes=1)
LIFETIME, ORPHAN = "past its lifetime", "no run is bound to it"
SURPLUS = "no job waits for it any more"
HOLD_OVER = "its hold is over"
CLOSED = "closed"
EXPECTED = {SURPLUS: "surplus_vm_terminated", HOLD_OVER: "held_vm_terminated", CLOSED: "standby_terminated"}
"""Ends that the stack itself planned, with their messages: nothing was lost or left over."""

CLEANABLE = UP | {VmState.STOPPED}
"""A stopped VM still costs its disk, and can be started again."""

_CLOSE, _LOOK = "closing mailboxes", "the last look"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanCleanup:
    """Terminates orphans older than the grace and VMs older than the lifetime, a bounded number in each cycle."""

    fleet: Fleet
    ledger: Ledger
    surplus_vms: SurplusVms
    policy: Policy
    telemetry: Telemetry
    _warned_at: list[datetime] = field(default_factory=list, init=False, repr=False)
    _outages: Outages = field(default_factory=Outages, init=False, repr=False)

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Terminates VMs; returns the cycle unchanged."""
        if not cycle.described:
            return cycle
        owned = {s.run.binding.instance_id for s in cycle.situations if s.run.binding is not None}
        births = cycle.births()
        found = {
            vm.instance_id: (vm, why)
            for vm in sorted(cycle.vms.values(), key=lambda vm: vm.launched_at)
            if vm.state in CLEANABLE
            and vm.instance_id not in cycle.going
            and (why := self._why(vm, births[vm.instance_id], owned, cycle))
        }
        orphans = [vm for vm, why in found.values() if why == ORPHAN]
        # Where it is not known which VMs are held, any VM without a run may be.
        surplus = [] if cycle.held is None else self.surplus_vms(cycle, owned | cycle.held.keys())
        if not found and not surplus:
            return cycle
        if orphans:
            bound = self.ledger.bound_instances()
            orphans = [vm for vm in orphans if vm.instance_id not in bound]
            orphans = self._within_limit(orphans, cycle)
        suspects = {vm.instance_id: SURPLUS for vm in surplus}
        suspects |= {vm.instance_id: ORPHAN for vm in orphans if vm.instance_id not in suspects}
        for planned in (CLOSED, HOLD_OVER, LIFETIME):
            suspects |= {instance_id: why for instance_id, (_, why) in found.items() if why == planned}
        self._end(suspects, self.policy.max_terminations_per_cycle - cycle.terminations)
        return cycle

    def _why(self, vm: Vm, born: datetime, owned: Collection[InstanceId], cycle: TrackerCycle) -> str:
        """Why the VM may have to go; empty where nothing says so."""
        if cycle.now - born > self.policy.max_lifetime:
            return LIFETIME
        if cycle.is_closed(vm):
            return CLOSED
        if cycle.held is None:
            return ""  # it is not known which are held, and any orphan may be
        if vm.instance_id in cycle.held:
            return HOLD_OVER if cycle.held[vm.instance_id].until <= cycle.now else ""
        if vm.instance_id in owned or cycle.stands_by(vm):
            return ""
        age = cycle.now - vm.launched_at
        return ORPHAN if age > self.policy.orphan_grace else ""

    def _within_limit(self, orphans: list[Vm], cycle: TrackerCycle) -> list[Vm]:
        """The orphans that may be terminated: all of them, or those whose launch the ledger still explains."""
        if not self._too_many(len(orphans), cycle, said=False):
            return orphans
        explained = self.surplus_vms.explained(orphans)
        if self._too_many(len(orphans) - len(explained), cycle, said=True):
            return [vm for vm in orphans if vm.instance_id in explained]
        return orphans

    def _too_many(self, orphans: int, cycle: TrackerCycle, *, said: bool) -> bool:
        up = sum(vm.state in UP for vm in cycle.vms.values())
        if orphans <= max(ALWAYS_ALLOWED, MAX_SHARE * up):
            self._warned_at.clear()
            return False
        if not said:
            return True
        self.telemetry.peak(Metric.ORPHAN_CLEANUP_LIMITED, orphans)
        if has_passed(WARN_INTERVAL, next(iter(self._warned_at), None), cycle.now):
            self._warned_at[:] = [cycle.now]
            self.telemetry.error(
                "orphan_cleanup_limited",
                count=orphans,
                up=up,
                reason="No run is bound to these VMs, and they are too many to be ended unseen: is the ledger whole?",
                remedy="Terminate those you know to be idle; each ends by itself after its job, and at its lifetime.",
            )
        return True

    def _end(self, suspects: dict[InstanceId, str], at_most: int) -> None:
        """Terminates the VMs that EC2, and then the ledger, still show unchanged. See `observe` for this order.

        The ledger is read after the mailboxes are closed: a VM that it does not show as bound then can never be bound.
        """
        still_up = self._read_again(list(suspects)[: max(0, at_most)])
        past = [vm for vm in still_up if suspects[vm.instance_id] == LIFETIME]
        idle = self._closed([vm for vm in still_up if suspects[vm.instance_id] != LIFETIME], suspects)
        owned = self.ledger.bound_instances() if idle else frozenset[InstanceId]()
        going = [*past, *(vm for vm in idle if vm.instance_id not in owned)]
        if not going:
            return
        refused = self.fleet.terminate([vm.instance_id for vm in going])
        for vm in going:
            if vm.instance_id in refused:
                self.telemetry.warning(
                    "orphan_not_terminated", instance_id=vm.instance_id, error=str(refused[vm.instance_id])
                )
            elif suspects[vm.instance_id] in EXPECTED:
                self.telemetry.info(EXPECTED[suspects[vm.instance_id]], instance_id=vm.instance_id)
            else:
                self.telemetry.warning("orphan_terminated", instance_id=vm.instance_id, reason=suspects[vm.instance_id])
        orphans = [vm for vm in going if suspects[vm.instance_id] not in EXPECTED and vm.instance_id not in refused]
        self.telemetry.count(Metric.ORPHANS_TERMINATED, len(orphans))

    def _closed(self, vms: list[Vm], suspects: dict[InstanceId, str]) -> list[Vm]:
        """Those of these VMs that no dispatcher can bind from now on, but not surplus ones that were bound once."""
        if not vms:
            return []
        try:
            answer = self.ledger.close_mailboxes([vm.arn for vm in vms])
        except AgentStackError as error:
            self._not_closed(len(vms), str(error))
            return []
        if answer.undecided:
            self._not_closed(len(answer.undecided), "the write was not decided")
        else:
            self._outages.is_over(_CLOSE)
        decided = [vm for vm in vms if vm.arn not in answer.undecided]
        return [vm for vm in decided if vm.arn in answer.closed or suspects[vm.instance_id] != SURPLUS]

    def _not_closed(self, count: int, error: str) -> None:
        self._outages.passing(_CLOSE, self.telemetry, "mailboxes_not_closed", count=count, error=error)

    def _read_again(self, instance_ids: list[InstanceId]) -> list[Vm]:
        if not instance_ids:
            return []
        try:
            shown = self.fleet.describe_by_id(instance_ids)
        except AgentStackError as error:
            self._outages.passing(_LOOK, self.telemetry, "orphans_unknown", count=len(instance_ids), error=str(error))
            return []
        self._outages.is_over(_LOOK)
        return [vm for vm in shown if vm.state in CLEANABLE]
