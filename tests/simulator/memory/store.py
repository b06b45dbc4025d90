"""One store behind three ports. Every method is one atomic step, as a transaction is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_stack.domain.errors import GiveUpError
from agent_stack.domain.identifiers import InstanceArn, InstanceId, IntentId, JobId
from agent_stack.domain.launching import Intent
from agent_stack.domain.runs import Run
from agent_stack.domain.states import Baton, BootStage
from agent_stack.domain.vms import Letter, Mail
from agent_stack.ports import Held

MAX_DETAIL_CHARACTERS = 300


@dataclass(slots=True, kw_only=True)
class Box:
    """One VM's mailbox. `credential` is None once somebody took it."""

    letter: Letter
    credential: str | None
    revoked: bool = False
    stage: BootStage | None = None
    stage_seconds: float | None = None
    detail: str = ""


@dataclass(slots=True, kw_only=True)
class LeaseItem:
    """One function's lease."""

    holder: str | None = None
    until: datetime | None = None
    fence: int = 0
    wakes: int = 0
    successor: str | None = None


@dataclass(slots=True, kw_only=True)
class Store:
    """Everything that outlives a process."""

    runs: dict[JobId, Run] = field(default_factory=dict)
    history: list[Run] = field(default_factory=list)
    attempts: dict[JobId, int] = field(default_factory=dict)
    intents: dict[IntentId, Intent] = field(default_factory=dict)
    boxes: dict[InstanceArn, Box] = field(default_factory=dict)
    leases: dict[str, LeaseItem] = field(default_factory=dict)

    # --- a VM's own two requests ---

    def find_letter(self, arn: InstanceArn) -> Letter | None:
        """What a VM reads; never the credential."""
        box = self.boxes.get(arn)
        return box.letter if box else None

    def take_credential(self, arn: InstanceArn) -> str | None:
        """The VM's conditional write: the credential, once; None when it is gone."""
        box = self.boxes.get(arn)
        if box is None or box.credential is None:
            return None
        taken, box.credential = box.credential, None
        box.stage = BootStage.CREDENTIAL_TAKEN
        return taken

    def report(self, arn: InstanceArn, stage: BootStage, detail: str = "", seconds: float | None = None) -> None:
        """The VM says how far it is."""
        box = self.boxes.get(arn)
        if box is not None:
            box.stage, box.detail, box.stage_seconds = stage, detail, seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLedger:
    """See the port `Ledger`."""

    store: Store

    def active_runs(self) -> Sequence[Run]:
        """See the port."""
        return list(self.store.runs.values())

    def bound_instances(self) -> frozenset[InstanceId]:
        """See the port."""
        return frozenset(run.binding.instance_id for run in self.store.runs.values() if run.binding is not None)

    def attempts(self, job_ids: Sequence[JobId]) -> Mapping[JobId, int]:
        """See the port."""
        return {job_id: self.store.attempts[job_id] for job_id in job_ids if job_id in self.store.attempts}

    def record(self, runs: Sequence[Run]) -> Sequence[Run]:
        """See the port."""
        won = []
        for run in runs:
            if run.job_id not in self.store.runs:
                self.store.runs[run.job_id] = run
                won.append(run)
        return won

    def update(self, runs: Sequence[Run]) -> Sequence[Run]:
        """See the port."""
        return [run for run in runs if self._put(run)]

    def end(self, runs: Sequence[Run]) -> Sequence[Run]:
        """See the port."""
        won = []
        for run in runs:
            if self._follows(run):
                del self.store.runs[run.job_id]
                self.store.history.append(run)
                if run.attempt:
                    self.store.attempts[run.job_id] = run.attempt
                won.append(run)
        return won

    def bind(self, pairs: Sequence[tuple[Run, Letter]]) -> Sequence[Run]:
        """See the port."""
        won = []
        for run, letter in pairs:
            before = self.store.runs.get(run.job_id)
            free = before is not None and before.binding is None and letter.instance_arn not in self.store.boxes
            if free and self._put(run):
                self.store.boxes[letter.instance_arn] = Box(letter=letter, credential=letter.credential)
                won.append(run)
        return won

    def open_intents(self) -> Sequence[Intent]:
        """See the port."""
        return list(self.store.intents.values())

    def write_intent(self, intent: Intent, *, fence: int) -> None:
        """See the port."""
        if self.store.leases.get("dispatcher", LeaseItem()).fence != fence or intent.intent_id in self.store.intents:
            raise GiveUpError(f"the dispatcher's lease is not held under number {fence} any more")
        self.store.intents[intent.intent_id] = intent

    def spend_intent(self, intent: Intent) -> None:
        """See the port."""
        if intent.intent_id in self.store.intents:
            self.store.intents[intent.intent_id] = intent

    def close_intent(self, intent_id: IntentId) -> None:
        """See the port."""
        self.store.intents.pop(intent_id, None)

    def _follows(self, run: Run) -> bool:
        before = self.store.runs.get(run.job_id)
        return before is not None and before.version == run.version - 1

    def _put(self, run: Run) -> bool:
        if not self._follows(run):
            return False
        self.store.runs[run.job_id] = run
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryMailbox:
    """See the port `Mailbox`."""

    store: Store

    def read(self, arns: Sequence[InstanceArn]) -> Mapping[InstanceArn, Mail]:
        """See the port."""
        return {arn: self._mail(self.store.boxes[arn]) for arn in arns if arn in self.store.boxes}

    def renew(self, arn: InstanceArn, credential: str) -> bool:
        """See the port."""
        box = self.store.boxes.get(arn)
        if box is None or box.credential is None:
            return False
        box.credential = credential
        return True

    def take_baton(self, arn: InstanceArn) -> bool:
        """See the port."""
        box = self.store.boxes.get(arn)
        if box is not None and box.credential is not None:
            box.credential, box.revoked = None, True
        return box is not None and box.revoked

    @staticmethod
    def _mail(box: Box) -> Mail:
        gone = Baton.TRACKER if box.revoked else Baton.VM
        return Mail(
            baton=gone if box.credential is None else Baton.IN_BOX,
            stage=box.stage,
            stage_seconds=box.stage_seconds,
            detail="".join(c if c.isprintable() else " " for c in box.detail)[:MAX_DETAIL_CHARACTERS],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLease:
    """See the port `Lease`."""

    store: Store
    function: str

    def acquire(self, holder: str, *, now: datetime, ttl: timedelta) -> Held | None:
        """See the port."""
        item = self._item()
        if item.holder not in {None, holder} and item.until is not None and item.until > now:
            return None
        item.holder, item.until, item.successor = holder, now + ttl, None
        item.fence += 1
        return self._held(item)

    def knock(self, holder: str, *, follow: bool) -> None:
        """See the port."""
        item = self._item()
        item.wakes += 1
        if follow:
            item.successor = holder

    def renew(self, held: Held, *, now: datetime, ttl: timedelta) -> Held | None:
        """See the port."""
        item = self._item()
        if (item.holder, item.fence) != (held.holder, held.fence):
            return None
        item.until = now + ttl
        return self._held(item)

    def release(self, held: Held) -> bool:
        """See the port."""
        item = self._item()
        if (item.holder, item.fence) != (held.holder, held.fence):
            return True
        if item.wakes != held.wakes:
            return False
        item.holder = item.until = item.successor = None
        return True

    def _item(self) -> LeaseItem:
        return self.store.leases.setdefault(self.function, LeaseItem())

    @staticmethod
    def _held(item: LeaseItem) -> Held:
        assert item.holder is not None
        assert item.until is not None
        return Held(
            holder=item.holder, fence=item.fence, wakes=item.wakes, expires_at=item.until, successor=item.successor
        )
