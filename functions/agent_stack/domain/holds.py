"""Holds: VMs whose boot failed and that stay up for a while, so that a person can look into them.

A VM that took its credential is never held: a job may have run there, and whoever reads the VM's memory could own the
job. So the jobs on a VM cannot hold it either.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from agent_stack.domain.attempts import FailureKind
from agent_stack.domain.decisions import Decision, ends_the_vm
from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId
from agent_stack.domain.situations import Situation
from agent_stack.domain.states import CapacityType, CredentialHolder, RunState, VmState

MAX_HELD = 3
"""Of one deployment. A failure of a class looks the same on each of its VMs, so one VM for each class is enough."""

SHORTEST_HOLD = timedelta(minutes=1)
"""A VM that its lifetime ends sooner is not worth a message. Where HoldOnFailureMinutes is 0 no hold is that long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One VM that is held.

    Attributes:
        class_name: the operator's name of its class.
        until: when the tracker terminates it.
    """

    instance_id: InstanceId
    arn: InstanceArn
    class_name: ClassName
    until: datetime

    @property
    def connect(self) -> str:
        """The command that opens a shell on it."""
        return f"aws ssm start-session --target {self.instance_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holds:
    """All VMs that are held.

    Attributes:
        version: counts every recorded change, so that two trackers cannot both use the last place.
    """

    version: int = 0
    vms: tuple[Hold, ...] = ()

    def has_place(self, class_name: ClassName) -> bool:
        """Whether one more VM of that class may be held."""
        return len(self.vms) < MAX_HELD and all(hold.class_name != class_name for hold in self.vms)

    def adding(self, hold: Hold) -> Self:
        """These and that one; the same version until it is recorded."""
        return replace(self, vms=(*self.vms, hold))

    def without(self, ended: Collection[InstanceId]) -> Self:
        """Those of VMs that have not ended."""
        return replace(self, vms=tuple(hold for hold in self.vms if hold.instance_id not in ended))

    def ending_at(self, moment: datetime) -> Self:
        """The same VMs, none of them held for longer than until that moment."""
        return replace(self, vms=tuple(replace(hold, until=min(hold.until, moment)) for hold in self.vms))

    def next_version(self) -> Self:
        """What is recorded on top of the version before."""
        return replace(self, version=self.version + 1)


def may_be_held(s: Situation, decision: Decision) -> bool:
    """Whether the VM of a run may be held, where the decision would end it.

    The tracker has revoked the credential, and the VM itself says that its boot failed and that it waits. EC2 wants
    spot VMs back, so they are never held.
    """
    status = s.mailbox_status
    return (
        ends_the_vm(decision.action)
        and decision.failure is not None
        and decision.failure.kind is FailureKind.BOOT_PROGRAM
        and s.run.state is RunState.BOOTING
        and s.run.credential_holder is CredentialHolder.TRACKER
        and status is not None
        and status.waits
        and s.vm is not None
        and s.vm.state is VmState.RUNNING
        and s.vm.capacity_type is CapacityType.ON_DEMAND
        and hold_end(s) - s.now >= SHORTEST_HOLD
    )


def hold_end(s: Situation) -> datetime:
    """When a hold that begins now is over: never after the VM's lifetime, whose timer would end it."""
    end, since = s.now + s.policy.hold_on_failure, s.run.vm_since
    return end if since is None else min(end, since + s.policy.max_lifetime)
