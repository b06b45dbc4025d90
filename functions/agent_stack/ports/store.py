"""What outlives an invocation: the ledger, the mailboxes, the leases, the class document and the agent token."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from agent_stack.domain.attempts import PriorUsage
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import ClassBook
from agent_stack.domain.identifiers import (
    InstanceArn,
    InstanceId,
    IntentId,
    JobId,
)
from agent_stack.domain.launching import Intent
from agent_stack.domain.runs import Run
from agent_stack.domain.vms import Assignment, MailboxStatus
from agent_stack.domain.waiting import Waiting, WaitingList


class Ledger(Protocol):
    """The record of runs and intents. The only memory that outlives an invocation."""

    def active_runs(self) -> Sequence[Run]:
        """Every run that has not ended. Consistent."""

    def bound_instances(self) -> frozenset[InstanceId]:
        """The VMs of all active runs, even of those that this version of the code cannot read. Consistent."""

    def earlier(self, job_ids: Sequence[JobId]) -> Mapping[JobId, PriorUsage]:
        """What earlier runs of these jobs used up; jobs without any are left out."""

    def record(self, runs: Sequence[Run]) -> Sequence[Run]:
        """Write first versions, each only if its job has no active run. The answer holds those that won."""

    def update(self, runs: Sequence[Run]) -> Sequence[Run]:
        """Write next versions, each only on top of its predecessor. The answer holds those that won."""

    def end(self, runs: Sequence[Run]) -> Sequence[Run]:
        """Move ended runs into history, each only on top of its predecessor. The answer holds those that won."""

    def bind(self, pairs: Sequence[tuple[Run, Assignment]]) -> Sequence[Run]:
        """Bind runs to VMs: run and mailbox change together or not at all; a conflict costs only its own pair."""

    def open_intents(self) -> Sequence[Intent]:
        """Intents whose VMs are not all accounted for."""

    def write_intent(self, intent: Intent, *, fence: int) -> None:
        """Write a new intent, if the dispatcher's lease still carries that fencing number.

        Raises:
            GiveUpError: another dispatcher took over.
        """

    def spend_intent(self, intent: Intent) -> None:
        """Record EC2's answer: the token is spent, and these VMs came of it."""

    def close_intent(self, intent_id: IntentId) -> None:
        """Nothing more will come of it."""

    def launch_memory(self) -> LaunchMemory:
        """What EC2 taught earlier runs of the dispatcher; empty when nothing is known."""

    def remember_launches(self, memory: LaunchMemory, *, fence: int) -> None:
        """Keep it, unless a dispatcher under a higher fencing number has written: losing some of it costs a lesson."""

    def list_waiting(self, waiting: WaitingList) -> None:
        """Leave the list of who waits, in place of the one before. The dispatcher's to write."""

    def waiting(self) -> WaitingList | None:
        """The latest list; None when there was none yet."""

    def claim_notices(self, waiting: Sequence[Waiting]) -> Sequence[Waiting]:
        """Mark that these jobs are told these reasons. The answer holds those that were not, and may be told now.

        Each job and reason once, and at most `MAX_NOTICES_OF_A_JOB` reasons a job.
        """


class Mailbox(Protocol):
    """The VMs' mailboxes, from our side. They are filled by `Ledger.bind` only."""

    def read(self, arns: Sequence[InstanceArn]) -> Mapping[InstanceArn, MailboxStatus]:
        """What the mailboxes show now; missing ones are left out. Consistent."""

    def renew(self, arn: InstanceArn, credential: str) -> bool:
        """Put a fresh credential in place of one that nobody took yet. False when it was taken."""

    def reissue(self, arn: InstanceArn, credential: str) -> bool:
        """Put another credential in for a VM that lost the one it took, by its own word; False when that is not so.

        At most three times for a VM; never once we hold the baton.
        """

    def revoke_credential(self, arn: InstanceArn) -> bool:
        """Take the credential back. True when we hold the baton now, or did before; False when the VM does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLease:
    """A lease in hand: its fencing number, the wake-ups seen, and who waits to follow."""

    holder: str
    fence: int
    signals: int
    expires_at: datetime
    successor: str | None = None


class Lease(Protocol):
    """At most one working invocation per function."""

    def acquire(self, holder: str, *, now: datetime, ttl: timedelta) -> HeldLease | None:
        """Take the lease if it is free or run out; None when somebody works."""

    def signal(self, holder: str, *, handover: bool) -> None:
        """Tell whoever works that there is news; with `handover`, that we wait to take over."""

    def renew(self, held: HeldLease, *, now: datetime, ttl: timedelta) -> HeldLease | None:
        """The lease for longer, with the wake-ups so far; None when it was lost."""

    def release(self, held: HeldLease) -> bool:
        """Let go, unless there was a wake-up since `held`; False means: go round again."""


class ClassSource(Protocol):
    """Where the operator's classes come from."""

    def book(self) -> ClassBook:
        """The classes as they are now; cached for a short while.

        Raises:
            ConfigurationError: the document is wrong; names it, the field and the remedy.
        """


class Secrets(Protocol):
    """Where the agent token comes from."""

    def agent_token(self, *, fresh: bool = False) -> str:
        """The token; read anew when `fresh`."""
