"""VMs as EC2 shows them, and mailboxes as the tracker reads them."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent_stack.domain.identifiers import InstanceArn, InstanceId, IntentId, JobId, QueueKey
from agent_stack.domain.mirrors import Mirrors, told_of_mirrors
from agent_stack.domain.states import BootStage, CapacityType, CredentialHolder, VmState


@dataclass(frozen=True, slots=True, kw_only=True)
class Vm:
    """One instance that carries our tag.

    Attributes:
        hold: how long it may stand by for a job, by its tag; None for a VM that was launched for a job.
    """

    instance_id: InstanceId
    arn: InstanceArn
    state: VmState
    launched_at: datetime
    instance_type: str = ""
    zone: str = ""
    capacity_type: CapacityType = CapacityType.ON_DEMAND
    intent_id: IntentId | None = None
    reason: str = ""  # EC2's state reason code, such as Server.SpotInstanceTermination
    hold: timedelta | None = None
    vcpus: int = 0  # 0: EC2 has not said it


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Assignment:
    """What is put into a VM's mailbox when a run is bound to it.

    The only value of this package that holds a credential; its repr says so and no more.
    """

    instance_arn: InstanceArn
    job_id: JobId
    queue_key: QueueKey
    endpoint: str
    agent_name: str
    agent_tags: tuple[str, ...]
    credential_kind: str  # "job-token" | "agent-token"
    credential: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"Assignment(job_id={self.job_id!r}, instance_arn={self.instance_arn!r}, credential=<hidden>)"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxStatus:
    """A mailbox as read back: who holds the credential, and what the VM says of itself.

    A job on the VM can write the VM's own words (`stage`, `stage_seconds`, `detail`), so they are cropped on
    reading and decide nothing once Buildkite shows an agent. A mailbox that is `closed` never had an assignment.
    """

    credential_holder: CredentialHolder
    stage: BootStage | None = None
    stage_seconds: float | None = None  # since the VM's own boot, by its monotonic clock
    detail: str = ""
    closed: bool = False
    waits: bool = False  # its boot failed, and it waits for a moment whether the tracker holds it

    @property
    def spot_noticed(self) -> bool:
        """Whether the VM says that EC2 announced to take it back."""
        return self.stage is BootStage.SPOT_NOTICE or (
            self.stage is BootStage.AGENT_EXITED and _AFTER_A_SPOT_NOTICE.match(self.detail) is not None
        )

    @property
    def mirrors(self) -> Mirrors | None:
        """What the VM says of its git mirrors; None where it says nothing of them."""
        return told_of_mirrors(self.detail) if self.stage is BootStage.AGENT_STARTED else None

    @property
    def last_words(self) -> str:
        """What the VM says of its end; empty when it gives no words, or only its agent's exit code."""
        return "" if _NO_WORDS.fullmatch(self.detail) else self.detail.strip()


WAITS = "(waits) "
"""How a VM begins the reason of its failed boot when it can be held (infra/vm/hold.sh). An older tracker shows it."""


def told_by(detail: str) -> tuple[str, bool]:
    """The VM's own words without that mark, and whether they had it."""
    return detail.removeprefix(WAITS), detail.startswith(WAITS)


_AFTER_A_SPOT_NOTICE = re.compile(r"[0-9]+ \(spot notice\)")
_NO_WORDS = re.compile(r"[0-9]*\s*(\(spot notice\))?\s*")
"""How the boot program begins its report of an agent's end (infra/vm/agent.sh): the exit code, then this mark."""
