"""Store port: ledger, mailboxes, leases, class document and agent token, which outlive an invocation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from agent_stack.domain.attempts import PriorUsage
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import ClassBook
from agent_stack.domain.holds import Holds
from agent_stack.domain.identifiers import (
    InstanceArn,
    InstanceId,
    IntentId,
    JobId,
)
from agent_stack.domain.launching import Intent, Launched, VmLook
from agent_stack.domain.pauses import Pauses
from agent_stack.domain.programs import PublishedProgram, VmProgram
from agent_stack.domain.runs import Run
from agent_stack.domain.stack_keys import StackKeyRecord
from agent_stack.domain.vms import Assignment, MailboxStatus
from agent_stack.domain.waiting import Waiting, WaitingList


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What became of claims of notifications.

    Attributes:
        claimed: the ones that the caller may send now.
        undecided: the ones whose write failed, in order. They may be claimed later; the others were claimed before.
    """

    claimed: Sequence[Waiting]
    undecided: Sequence[Waiting] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedMailboxes:
    """What became of mailboxes that were to be closed.

    Attributes:
        closed: these take no assignment any more, and never had one.
        undecided: the ones whose write failed. The others have an assignment.
    """

    closed: frozenset[InstanceArn]
    undecided: frozenset[InstanceArn] = frozenset()


class Ledger(Protocol):
    """The stored runs, intents, launch memory and wait reasons of one deployment."""

    def active_runs(self) -> Sequence[Run]:
        """Returns every run that has not ended. Consistent read."""

    def refreshed_runs(self) -> Sequence[Run]:
        """Returns the active runs: those without a VM as they are stored, those with a VM as this process knows them.

        Cheaper than `active_runs`, because most runs have a VM. A run with a VM may have ended since this process read
        or wrote it; one that lost its VM is there without it.
        """

    def bound_instances(self) -> frozenset[InstanceId]:
        """Returns the VMs of all active runs, also of runs that this version cannot read. Consistent read."""

    def earlier(self, job_ids: Sequence[JobId]) -> Mapping[JobId, PriorUsage]:
        """Returns the attempts and notices that earlier runs of these jobs used; omits jobs without earlier runs."""

    def record(self, runs: Sequence[Run]) -> Sequence[Run]:
        """Writes first versions, each only if its job has no active run. Returns the runs that were written."""

    def update(self, runs: Sequence[Run]) -> Sequence[Run]:
        """Writes next versions, each only on top of its predecessor. Returns the runs that were written."""

    def end(self, runs: Sequence[Run]) -> Sequence[Run]:
        """Moves ended runs into the history, each only on top of its predecessor. Returns the runs that were moved."""

    def bind(self, pairs: Sequence[tuple[Run, Assignment]]) -> Sequence[Run]:
        """Binds runs to VMs. Run and mailbox change together or not at all; a conflict affects only its own pair."""

    def close_mailboxes(self, arns: Sequence[InstanceArn]) -> ClosedMailboxes:
        """Closes the mailboxes of VMs without an assignment, so that no later `bind` can bind these VMs."""

    def open_intents(self) -> Sequence[Intent]:
        """Returns the intents that are not closed."""

    def write_intent(self, intent: Intent, *, fence: int) -> None:
        """Writes a new intent, if the dispatcher's lease still has this fencing number, and counts its VMs.

        Raises:
            GiveUpError: another dispatcher has taken over.
        """

    def launched(self) -> Launched:
        """Returns how many VMs all intents together asked for since the deployment began, and the latest look at EC2.

        Consistent read. `write_intent` counts in its own transaction. Versions before 0.2.0 do not count.
        """

    def record_look(self, look: VmLook) -> None:
        """Replaces the latest look at EC2. A look stays right, so a lost or an older one costs only requests."""

    def spend_intent(self, intent: Intent) -> None:
        """Records EC2's answer: the client token is used, and these VMs exist."""

    def close_intent(self, intent_id: IntentId) -> None:
        """Closes an intent that needs no further work."""

    def launch_memory(self) -> LaunchMemory:
        """Returns what earlier dispatchers learned from EC2; empty when nothing is stored."""

    def remember_launches(self, memory: LaunchMemory, *, fence: int) -> None:
        """Stores the launch memory, unless a dispatcher under a higher fencing number has written.

        The number that the lease has now is the highest, also after a person has deleted the lease.

        A lost version costs little, because EC2 teaches it again.
        """

    def list_waiting(self, waiting: WaitingList) -> None:
        """Replaces the list of waiting jobs. Only the dispatcher writes it."""

    def waiting(self) -> WaitingList | None:
        """Returns the latest list; None when there is none yet."""

    def stack_keys(self) -> StackKeyRecord | None:
        """Returns the recorded stack keys; None when nothing is recorded. Consistent read.

        Raises:
            BugError: what is recorded cannot be read. It must not count as nothing: other keys would be used.
        """

    def record_stack_keys(self, record: StackKeyRecord, *, only_if_new: bool = False) -> None:
        """Replaces the recorded stack keys; with `only_if_new`, only if nothing is recorded."""

    def holds(self) -> Holds:
        """Returns the VMs that are held, because their boot failed. Consistent read."""

    def record_holds(self, holds: Holds) -> bool:
        """Replaces them, if nothing was recorded since the version before. False when another tracker was first."""

    def claim_notices(self, waiting: Sequence[Waiting]) -> Claims:
        """Claims the notifications for these jobs and reasons.

        Each job and reason can be claimed once, at most `MAX_NOTICES_OF_A_JOB` reasons for each job.
        """


class Mailbox(Protocol):
    """The VMs' mailboxes, as the tracker uses them. Only `Ledger` creates them: `bind` and `close_mailboxes`."""

    def read(self, arns: Sequence[InstanceArn]) -> Mapping[InstanceArn, MailboxStatus]:
        """Returns the current status of these mailboxes; omits missing ones. Consistent read."""

    def renew(self, arn: InstanceArn, credential: str) -> bool:
        """Replaces a credential that the VM has not taken yet. False when the VM has taken it."""

    def reissue(self, arn: InstanceArn, credential: str) -> bool:
        """Adds another credential for a VM that reports that it lost the one it took. False when it reports no loss.

        At most three times for a VM, and never after the tracker has revoked the credential.
        """

    def revoke_credential(self, arn: InstanceArn) -> bool:
        """Revokes the credential. True when the tracker holds it now or held it before; False when the VM holds it."""

    def hold(self, arn: InstanceArn, seconds: int) -> bool:
        """Tells a VM to stay up for so long. False when its credential was not revoked. Idempotent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLease:
    """A held lease: its fencing number, the number of signals seen, and the invocation that waits to take over.

    Attributes:
        pauses: what an operator has paused; part of the dispatcher's lease, so that no cycle reads it by itself.
    """

    holder: str
    fence: int
    signals: int
    expires_at: datetime
    successor: str | None = None
    pauses: Pauses = field(default_factory=Pauses)


class Lease(Protocol):
    """At most one invocation of a function runs cycles."""

    def acquire(self, holder: str, *, now: datetime, ttl: timedelta) -> HeldLease | None:
        """Takes the lease if it is free or expired; None while another invocation holds it."""

    def signal(self, holder: str, *, handover: bool) -> None:
        """Signals the lease holder that there may be work; with `handover`, that this invocation waits to take over."""

    def renew(self, held: HeldLease, *, now: datetime, ttl: timedelta) -> HeldLease | None:
        """Extends the lease and returns it with the number of signals; None when another invocation has it."""

    def release(self, held: HeldLease) -> bool:
        """Releases the lease, unless a signal arrived since `held`. False means: run another cycle."""

    def pauses(self) -> Pauses:
        """Returns what an operator has paused now. Consistent read."""


class ClassSource(Protocol):
    """The source of the operator's classes."""

    def book(self) -> ClassBook:
        """Returns the current classes, cached for a short time.

        Raises:
            ConfigurationError: the document is wrong; the error names document, field and remedy.
        """


class Secrets(Protocol):
    """The source of the agent token."""

    def agent_token(self, *, fresh: bool = False) -> str:
        """Returns the token; with `fresh` it does not use the cached value."""


class Programs(Protocol):
    """The second stages of the boot program, where VMs find them by their hash."""

    def publish(self, program: VmProgram) -> None:
        """Put a program there and make it the current one; the one before is superseded from now on. Idempotent."""

    def published(self) -> Sequence[PublishedProgram]:
        """Returns all programs that are there. Consistent."""

    def remove(self, sha256: str) -> None:
        """Remove a program. An unknown one is no error."""
