"""One store behind three ports. Every method is one atomic step, as a transaction is."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from agent_stack.domain.attempts import PriorUsage
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.holds import Holds
from agent_stack.domain.identifiers import InstanceArn, InstanceId, IntentId, JobId
from agent_stack.domain.launching import Intent, Launched
from agent_stack.domain.pauses import EVERYTHING, OperatorPause, Pauses
from agent_stack.domain.runs import Run
from agent_stack.domain.stack_keys import StackKeyRecord
from agent_stack.domain.standby import StandbyVm
from agent_stack.domain.states import BootStage
from agent_stack.domain.vms import Assignment
from agent_stack.domain.waiting import WaitingList, WaitReason

MAX_DETAIL_CHARACTERS = 300


@dataclass(slots=True, kw_only=True)
class Box:
    """One VM's mailbox. `credential` is None once somebody took it."""

    assignment: Assignment
    credential: str | None
    revoked: bool = False
    reissues: int = 0
    stage: BootStage | None = None
    stage_seconds: float | None = None
    detail: str = ""
    hold_seconds: int | None = None


@dataclass(slots=True, kw_only=True)
class LeaseItem:
    """One function's lease."""

    holder: str | None = None
    until: datetime | None = None
    fence: int = 0
    counted: int = 0
    signals: int = 0
    successor: str | None = None
    pauses: Pauses = field(default_factory=Pauses)


@dataclass(slots=True, kw_only=True)
class Store:
    """Everything that outlives a process."""

    runs: dict[JobId, Run] = field(default_factory=dict)
    history: list[Run] = field(default_factory=list)
    earlier: dict[JobId, PriorUsage] = field(default_factory=dict)
    waiting: WaitingList | None = None
    notices_sent: dict[JobId, set[WaitReason]] = field(default_factory=dict)
    intents: dict[IntentId, Intent] = field(default_factory=dict)
    boxes: dict[InstanceArn, Box] = field(default_factory=dict)
    closed: set[InstanceArn] = field(default_factory=set)
    """Mailboxes without an assignment that take none any more."""
    leases: dict[str, LeaseItem] = field(default_factory=dict)
    launching: LaunchMemory = field(default_factory=LaunchMemory)
    launching_fence: int = 0
    launched: Launched = field(default_factory=Launched)
    stack_keys: StackKeyRecord | None = None
    standby: dict[InstanceId, StandbyVm] = field(default_factory=dict)
    waiting_vms: dict[InstanceArn, Callable[[], None]] = field(default_factory=dict)
    """VMs that stand by, each with what makes it look into its mailbox."""
    holds: Holds = field(default_factory=Holds)

    def put_box(self, arn: InstanceArn, box: "Box | None") -> None:
        """A mailbox is filled, or closed; a VM that waits for that finds it."""
        if box is None:
            self.closed.add(arn)
        else:
            self.boxes[arn] = box
        if arn in self.waiting_vms:
            self.waiting_vms[arn]()

    def is_used(self, arn: InstanceArn) -> bool:
        """Whether that VM has a mailbox, filled or closed."""
        return arn in self.boxes or arn in self.closed

    # --- the operator's two commands ---

    def pause(self, *, at: datetime, queue: str = EVERYTHING) -> None:
        """What `agent-stack pause` writes."""
        item = self.leases.setdefault("dispatcher", LeaseItem())
        item.pauses = replace(item.pauses, paused={**item.pauses.paused, queue: OperatorPause(since=at, by="alice")})

    def resume(self, *, at: datetime, queue: str = EVERYTHING) -> None:
        """What `agent-stack resume` writes."""
        item = self.leases.setdefault("dispatcher", LeaseItem())
        left = {name: pause for name, pause in item.pauses.paused.items() if name != queue}
        item.pauses = Pauses(paused=left, resumed={**item.pauses.resumed, queue: at})

    # --- a VM's own two requests ---

    def find_letter(self, arn: InstanceArn) -> Assignment | None:
        """What a VM reads; never the credential."""
        box = self.boxes.get(arn)
        return box.assignment if box else None

    def take_credential(self, arn: InstanceArn) -> str | None:
        """The VM's conditional write: the credential, once; None when it is gone."""
        box = self.boxes.get(arn)
        if box is None or box.credential is None:
            return None
        taken, box.credential = box.credential, None
        box.stage = BootStage.CREDENTIAL_TAKEN
        return taken

    def hold_seconds(self, arn: InstanceArn) -> int | None:
        """What a VM whose boot failed reads: how long it is held; None while it is not."""
        box = self.boxes.get(arn)
        return box.hold_seconds if box else None

    def report(self, arn: InstanceArn, stage: BootStage, detail: str = "", seconds: float | None = None) -> None:
        """The VM says how far it is."""
        box = self.boxes.get(arn)
        if box is not None:
            box.stage, box.detail, box.stage_seconds = stage, detail, seconds
