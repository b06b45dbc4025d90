"""Standby VMs: VMs without an assignment that wait for a job of their class; and what is missing, stale or too many.

The ledger lists them, and only the ledger says that one is unbound. A VM ends by itself when its hold is over, so that
a dead dispatcher costs no more than the hold.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId, IntentId
from agent_stack.domain.standby_schedule import Standby
from agent_stack.domain.states import UP, CapacityType, VmState
from agent_stack.domain.vms import Vm

SHORTEST_HOLD = timedelta(minutes=5)
"""A VM that would stand by for less is not worth its boot."""

AFTER_PREPARATION = timedelta(minutes=2)
"""For how long a VM stands by at least, counted from its boot timeout. It must be longer than `LAST_MINUTE`: a VM that
is closed when it is ready would be replaced at once, by one that lasts no longer, with every plan."""

LAST_MINUTE = timedelta(seconds=60)
"""So long before the end of its hold a VM is closed: binding and the VM's next look may take that time together."""

OVERSTAY = timedelta(minutes=5)
"""A VM counts its hold from its boot, which is after its launch. One that stays longer than this cannot end itself."""

NOT_SHOWN_YET = timedelta(minutes=2)
"""A VM that EC2 does not show is taken for a fresh one for so long."""


def shortest_hold(boot_timeout: timedelta) -> timedelta:
    """For how long a VM must stand by to be asked for."""
    return max(SHORTEST_HOLD, boot_timeout + AFTER_PREPARATION)


class Closing(StrEnum):
    """Why an idle standby VM is ended. The values are logged and stored."""

    SCALE_DOWN = "scale-down"
    AGE = "age"
    STALE = "stale"  # its launch template, image or class has changed, and its replacement is ready
    PREEMPTED = "preempted"  # a job of another class needs its room
    LAUNCHES_OFF = "launches-off"  # the operator starts no job, so none is waited for
    MISSES = "misses"  # several standby VMs of its class did not take their jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class StandbyVm:
    """One standby VM as the ledger lists it.

    Attributes:
        hold: how long it may stand by, since its boot.
        shape: stands for what it was launched from; another one than its class has now makes it stale.
        closing: why it is ended; None while a job may be bound to it. There is no way back.
        state: EC2's word, at the latest look; PENDING before the first.
        vcpus: likewise; 0 before the first.
    """

    instance_id: InstanceId
    arn: InstanceArn
    class_name: ClassName
    launched_at: datetime
    hold: timedelta
    shape: str = ""
    instance_type: str = ""
    zone: str = ""
    capacity_type: CapacityType = CapacityType.ON_DEMAND
    intent_id: IntentId | None = None
    closing: Closing | None = None
    state: VmState = VmState.PENDING
    vcpus: int = 0

    @classmethod
    def of(cls, vm: Vm, *, class_name: ClassName, hold: timedelta, shape: str) -> "StandbyVm":
        """A VM that was launched to stand by."""
        return cls(
            instance_id=vm.instance_id,
            arn=vm.arn,
            class_name=class_name,
            launched_at=vm.launched_at,
            hold=hold,
            shape=shape,
            instance_type=vm.instance_type,
            zone=vm.zone,
            capacity_type=vm.capacity_type,
            intent_id=vm.intent_id,
            state=vm.state,
        )

    @property
    def vm(self) -> Vm:
        """The VM that a job is bound to."""
        return Vm(
            instance_id=self.instance_id,
            arn=self.arn,
            state=self.state,
            launched_at=self.launched_at,
            instance_type=self.instance_type,
            zone=self.zone,
            capacity_type=self.capacity_type,
            intent_id=self.intent_id,
            hold=self.hold,
        )

    @property
    def expires_at(self) -> datetime:
        """When it ends by itself."""
        return self.launched_at + self.hold

    def is_open(self, now: datetime) -> bool:
        """Whether a job may be bound to it."""
        return self.closing is None and self.state in UP and now < self.expires_at - LAST_MINUTE

    def is_ready(self, now: datetime, boot_timeout: timedelta) -> bool:
        """Whether its preparation is over, as far as anybody knows who does not believe what a VM says."""
        return self.state is VmState.RUNNING and now - self.launched_at >= boot_timeout

    def seen(self, shown: Vm | None, now: datetime) -> "StandbyVm":
        """As EC2 shows it; a VM that it does not show is gone, unless it is fresh."""
        if shown is not None:
            return replace(self, state=shown.state, launched_at=shown.launched_at, vcpus=shown.vcpus)
        return self if now - self.launched_at < NOT_SHOWN_YET else replace(self, state=VmState.TERMINATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPlan:
    """What to do about one class's standby VMs.

    Attributes:
        holds: one for each VM to ask for, the longest first.
        closing: VMs to end, each with the reason.
    """

    holds: tuple[timedelta, ...] = ()
    closing: tuple[tuple[StandbyVm, Closing], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPool:
    """One class's standby VMs at one moment.

    Attributes:
        vms: those that are not closed and not bound.
        coming: asked for, and not listed yet.
        shape: what a VM launched now would have.
        lead: how long before a VM is needed it is asked for, and how long its preparation may take.
    """

    standby: Standby
    vms: Sequence[StandbyVm]
    coming: int
    shape: str
    lead: timedelta
    now: datetime

    def plan(self, fraction: float, *, suspended: Closing | None = None) -> ClassPlan:
        """What is missing, and what is too old, stale or too many.

        Args:
            fraction: a random number in [0, 1), for the jitter of what is launched.
            suspended: why the class has no standby VMs for now; None when it has.
        """
        up = [vm for vm in self.vms if vm.state in UP and vm.closing is None]
        live = [vm for vm in up if vm.is_open(self.now)]
        closing = [(vm, Closing.AGE) for vm in up if not vm.is_open(self.now)]
        if suspended is not None:
            return ClassPlan(closing=(*closing, *((vm, suspended) for vm in live)))
        lasting = [vm for vm in live if self._lasts(vm)]
        stale = sum(vm.shape != self.shape for vm in lasting)
        supply = len(lasting) - min(1, stale) + self.coming  # stale ones are replaced one by one
        return ClassPlan(holds=tuple(self._holds(supply, fraction)), closing=(*closing, *self._surplus(live)))

    @property
    def wanted(self) -> int:
        """How many are wanted at most until a VM that is asked for now is ready."""
        return self.standby.most_wanted(self.now, self.now + self.lead)

    def _lasts(self, vm: StandbyVm) -> bool:
        """Whether it may still stand by when a replacement is ready. The operator may have lowered the greatest age."""
        ends = min(vm.expires_at, vm.launched_at + self.standby.greatest_age + self.lead)
        return ends - LAST_MINUTE > self.now + self.lead

    def _holds(self, supply: int, fraction: float) -> Iterator[timedelta]:
        shortest = shortest_hold(self.lead)
        if self.standby.least_age < shortest:
            return
        for place in range(supply, self.wanted):
            begin = self.standby.needed_from(place, self.now, self.now + self.lead)
            hold = self.standby.hold(place, begin, fraction) + (begin - self.now)
            if hold >= shortest:
                yield hold

    def _surplus(self, live: Sequence[StandbyVm]) -> Iterator[tuple[StandbyVm, Closing]]:
        """Those beyond what is wanted. A stale or old one goes once a ready one stands in its place."""
        fresh = sorted(filter(self._is_fresh, live), key=self._worth, reverse=True)
        others = sorted((vm for vm in live if not self._is_fresh(vm)), key=self._worth, reverse=True)
        yield from ((vm, Closing.SCALE_DOWN) for vm in fresh[self.wanted :])
        ready = sum(vm.is_ready(self.now, self.lead) for vm in fresh[: self.wanted])
        for vm in others[max(0, self.wanted - ready) :]:
            replaced = Closing.STALE if vm.shape != self.shape else Closing.AGE
            yield vm, replaced if self.wanted else Closing.SCALE_DOWN

    def _is_fresh(self, vm: StandbyVm) -> bool:
        return vm.shape == self.shape and self._lasts(vm)

    def _worth(self, vm: StandbyVm) -> tuple[bool, datetime, str]:
        """A ready VM before one that boots, then the one that lasts longest."""
        return vm.is_ready(self.now, self.lead), vm.expires_at, vm.instance_id


def in_turn(vms: Iterable[StandbyVm], shape: str, lead: timedelta, now: datetime) -> list[StandbyVm]:
    """The VMs in the order in which jobs take them: ready ones first, stale ones last of those, the oldest first."""
    return sorted(
        (vm for vm in vms if vm.is_open(now)),
        key=lambda vm: (not vm.is_ready(now, lead), vm.shape != shape, vm.launched_at, vm.instance_id),
    )
