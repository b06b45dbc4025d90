"""Launching: what is asked of EC2, what was written down before asking, and what came of it.

Capacity and binding are two things. A launch asks for N identical VMs of a class and knows no job; which VM
serves which job is decided afterwards, by binding.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from agent_stack.domain.classes import VmClass
from agent_stack.domain.identifiers import ClassName, IntentId, QueueKey
from agent_stack.domain.states import CapacityType
from agent_stack.domain.vms import Vm

MAX_VMS_OF_A_LAUNCH = 500
"""VMs asked for in one request. A thousand at once would be the whole of EC2's bucket on one answer."""


class LaunchErrorClass(StrEnum):
    """What to do about a launch that failed, in whole or in part."""

    THROTTLE = "throttle"  # the same request again, later
    CAPACITY = "capacity"  # that pool is dry; another one
    QUOTA = "quota"  # that market is full for this account
    ACCOUNT = "account"  # an operator must act on the account
    CONFIGURATION = "configuration"  # an operator must act on the class
    UNRECOGNISED = "unrecognised"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchError:
    """One reason why EC2 gave fewer VMs than asked, with EC2's own code and words."""

    error_class: LaunchErrorClass
    code: str
    message: str
    pool: str = ""  # capacity_type:type:zone, where EC2 told
    zone: str = ""  # of the subnet that it names, where it names no pool


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOrder:
    """N identical VMs of one class, in the terms of the operator.

    Attributes:
        pools: where they may come from, as `capacity_type:type:zone`, all of one capacity type, the preferred first.
        hold: how long they may stand by for a job; None for VMs that jobs wait for.
    """

    intent_id: IntentId
    vm_class: VmClass
    count: int
    capacity_type: CapacityType
    pools: tuple[str, ...]
    hold: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VmLook:
    """What a look at EC2 said about the number of VMs.

    Attributes:
        taken: how many VMs may have been up or on their way.
        launched: how many VMs all intents had asked for by then.
        uncounted: see `Launched`. What others launched uncounted makes the look worthless.
    """

    taken: int
    launched: int
    uncounted: int = 0
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """How many VMs all intents have asked for, and the latest look that is recorded.

    Attributes:
        uncounted: how often a version that does not count its VMs has held the lease.
    """

    vms: int = 0
    uncounted: int = 0
    look: VmLook | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A launch written down before it is asked for.

    Attributes:
        intent_id: EC2's client token, and the launch tag of every VM that comes of it.
        request: the exact request, opaque here; a replay sends it byte for byte.
        queues: the queues whose jobs it was made for; a paused one forbids a replay.
        capacity_type: that of the request; None where an older version wrote it.
        spent: EC2 has answered; the token must never be used for anything else again.
        vms: what came of it, as far as we know.
        hold: how long its VMs may stand by for a job; None for a launch that jobs wait for.
        shape: what a standby VM of it was launched from; see `StandbyVm`.
    """

    intent_id: IntentId
    class_name: ClassName
    request: str
    count: int
    queues: tuple[QueueKey, ...]
    created_at: datetime
    capacity_type: CapacityType | None = None
    spent: bool = False
    vms: tuple[Vm, ...] = ()
    hold: timedelta | None = None
    shape: str = ""

    @property
    def stands_by(self) -> bool:
        """Whether its VMs stand by, and no job waits for them."""
        return self.hold is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOutcome:
    """EC2's answer: some VMs, some errors, often both.

    Attributes:
        asked: the pools of the request, as `capacity_type:type:zone`.
        count: the VMs that it asked for.
    """

    vms: tuple[Vm, ...]
    errors: tuple[LaunchError, ...] = ()
    asked: tuple[str, ...] = ()
    count: int = 0
