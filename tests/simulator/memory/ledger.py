"""The port `Ledger` in memory, with DynamoDB's conditions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from agent_stack.adapters.dynamodb.items import shard
from agent_stack.adapters.dynamodb.transactions import CONFLICT_PAUSE, MAX_ROUNDS
from agent_stack.domain.attempts import PriorUsage
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.errors import GiveUpError, RetryError
from agent_stack.domain.holds import Holds
from agent_stack.domain.identifiers import InstanceArn, InstanceId, IntentId, JobId
from agent_stack.domain.launching import Intent, Launched, VmLook
from agent_stack.domain.runs import Run
from agent_stack.domain.stack_keys import StackKeyRecord
from agent_stack.domain.vms import Assignment
from agent_stack.domain.waiting import MAX_NOTICES_OF_A_JOB, Waiting, WaitingList
from agent_stack.ports import Claims, ClosedMailboxes
from tests.simulator.memory.rates import Rates
from tests.simulator.memory.store import Box, LeaseItem, Store


def _partitions(job_id: JobId, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Where these items of a job's are: in eight shards by kind; a mailbox has a partition of its own."""
    return tuple(f"mailbox#{job_id}" if kind == "mailbox" else shard(kind, job_id) for kind in kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLedger:
    """See the port `Ledger`.

    Attributes:
        rates: what the tables take; None for all of it at once.
        sleep: how it waits before it asks again for what was not taken.
    """

    store: Store
    rates: Rates | None = None
    sleep: Callable[[timedelta], None] = lambda _: None
    _known: dict[JobId, Run] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Active runs as this process read or wrote them last."""

    def active_runs(self) -> Sequence[Run]:
        """See the port."""
        self._know(self.store.runs.values())
        return list(self._known.values())

    def refreshed_runs(self) -> Sequence[Run]:
        """See the port."""
        stored = self.store.runs
        waiting = [run for run in stored.values() if run.binding is None]
        there = {run.job_id for run in waiting}
        others = [run for job_id, run in self._known.items() if job_id not in there]
        gone = [stored[run.job_id] for run in others if run.binding is None and run.job_id in stored]
        self._know([*waiting, *(run for run in others if run.binding is not None), *gone])
        return list(self._known.values())

    def _know(self, runs: Iterable[Run]) -> None:
        known = {run.job_id: run for run in runs}
        self._known.clear()
        self._known.update(known)

    def bound_instances(self) -> frozenset[InstanceId]:
        """See the port."""
        return frozenset(run.binding.instance_id for run in self.store.runs.values() if run.binding is not None)

    def earlier(self, job_ids: Sequence[JobId]) -> Mapping[JobId, PriorUsage]:
        """See the port."""
        return {job_id: self.store.earlier[job_id] for job_id in job_ids if job_id in self.store.earlier}

    def record(self, runs: Sequence[Run]) -> Sequence[Run]:
        """See the port."""

        def put(run: Run) -> bool:
            free = run.job_id not in self.store.runs
            if free:
                self.store.runs[run.job_id] = run
            return free

        return self._write(runs, put, ("run",))

    def update(self, runs: Sequence[Run]) -> Sequence[Run]:
        """See the port."""
        return self._write(runs, self._put, ("run",))

    def end(self, runs: Sequence[Run]) -> Sequence[Run]:
        """See the port."""

        def move(run: Run) -> bool:
            follows = self._follows(run)
            if follows:
                del self.store.runs[run.job_id]
                self.store.history.append(run)
                if run.attempt or run.notices_sent_in_all:
                    before = self.store.earlier.get(run.job_id, PriorUsage())
                    self.store.earlier[run.job_id] = PriorUsage(
                        attempts=run.attempt or before.attempts,
                        notices_sent=run.notices_sent_in_all,
                        lost_standby=run.lost_standby or before.lost_standby,
                    )
            return follows

        return self._write(runs, move, ("run", "history", "tombstone"))

    def bind(self, pairs: Sequence[tuple[Run, Assignment]]) -> Sequence[Run]:
        """See the port."""
        assignments = {run.job_id: assignment for run, assignment in pairs}

        def join(run: Run) -> bool:
            assignment = assignments[run.job_id]
            before = self.store.runs.get(run.job_id)
            free = before is not None and before.binding is None and not self.store.is_used(assignment.instance_arn)
            if free and self._put(run):
                box = Box(assignment=assignment, credential=assignment.credential)
                self.store.put_box(assignment.instance_arn, box)
                return True
            return False

        return self._write([run for run, _ in pairs], join, ("run", "mailbox"))

    def close_mailboxes(self, arns: Sequence[InstanceArn]) -> ClosedMailboxes:
        """See the port."""
        taken = [arn for arn in arns if self.rates is None or self.rates.take((f"mailbox#{arn}",))]
        if arns and not taken:
            raise RetryError(f"{len(arns)} mailboxes were not closed")
        closed = frozenset(taken) - self.store.boxes.keys()
        for arn in closed:
            self.store.put_box(arn, None)
        return ClosedMailboxes(closed=closed, undecided=frozenset(arns) - frozenset(taken))

    def open_intents(self) -> Sequence[Intent]:
        """See the port."""
        return list(self.store.intents.values())

    def write_intent(self, intent: Intent, *, fence: int) -> None:
        """See the port."""
        if self.store.leases.get("dispatcher", LeaseItem()).fence != fence or intent.intent_id in self.store.intents:
            raise GiveUpError(f"the dispatcher's lease is not held under number {fence} any more")
        self.store.intents[intent.intent_id] = intent
        self.store.launched = replace(self.store.launched, vms=self.store.launched.vms + intent.count)

    def launched(self) -> Launched:
        """See the port."""
        lease, found = self.store.leases.get("dispatcher", LeaseItem()), self.store.launched
        look = found.look if found.look is not None and found.look.launched <= found.vms else None
        return replace(found, uncounted=lease.fence - lease.counted, look=look)

    def record_look(self, look: VmLook) -> None:
        """See the port."""
        self.store.launched = replace(self.store.launched, look=look)

    def spend_intent(self, intent: Intent) -> None:
        """See the port."""
        if intent.intent_id in self.store.intents:
            self.store.intents[intent.intent_id] = intent

    def close_intent(self, intent_id: IntentId) -> None:
        """See the port."""
        self.store.intents.pop(intent_id, None)

    def launch_memory(self) -> LaunchMemory:
        """See the port."""
        return self.store.launching

    def remember_launches(self, memory: LaunchMemory, *, fence: int) -> None:
        """See the port."""
        lease = self.store.leases.get("dispatcher", LeaseItem())
        if fence >= self.store.launching_fence or fence == lease.fence:
            self.store.launching, self.store.launching_fence = memory, fence

    def list_waiting(self, waiting: WaitingList) -> None:
        """See the port."""
        self.store.waiting = waiting

    def waiting(self) -> WaitingList | None:
        """See the port."""
        return self.store.waiting

    def stack_keys(self) -> StackKeyRecord | None:
        """See the port."""
        return self.store.stack_keys

    def record_stack_keys(self, record: StackKeyRecord, *, only_if_new: bool = False) -> None:
        """See the port."""
        if not only_if_new or self.store.stack_keys is None:
            self.store.stack_keys = record

    def holds(self) -> Holds:
        """See the port."""
        return self.store.holds

    def record_holds(self, holds: Holds) -> bool:
        """See the port."""
        follows = self.store.holds.version in {0, holds.version - 1}
        if follows:
            self.store.holds = holds
        return follows

    def claim_notices(self, waiting: Sequence[Waiting]) -> Claims:
        """See the port."""
        fresh: list[Waiting] = []
        undecided: list[Waiting] = []
        for job in waiting:
            if self.rates is not None and not self.rates.take(_partitions(job.job_id, ("told",))):
                undecided.append(job)
                continue
            notices_sent = self.store.notices_sent.setdefault(job.job_id, set())
            if job.reason not in notices_sent and len(notices_sent) < MAX_NOTICES_OF_A_JOB:
                notices_sent.add(job.reason)
                fresh.append(job)
        if undecided and not fresh:
            raise RetryError(f"{len(undecided)} claims were not taken")
        return Claims(claimed=fresh, undecided=undecided)

    def _write(self, runs: Sequence[Run], write: Callable[[Run], bool], kinds: tuple[str, ...]) -> list[Run]:
        """Write each run for itself; what is throttled or in conflict again and again, as `Transactions` does."""
        won: list[Run] = []
        pending = list(runs)
        for attempt in range(MAX_ROUNDS):
            again: list[Run] = []
            for run in pending:
                if self.rates is not None and not self.rates.take(_partitions(run.job_id, kinds)):
                    again.append(run)
                elif write(run):
                    won.append(run)
            if not again:
                break
            self.sleep(CONFLICT_PAUSE * 2**attempt)
            pending = again
        else:
            if not won:
                raise RetryError(f"{len(pending)} writes were not taken {MAX_ROUNDS} times")
        self._known.update({run.job_id: run for run in won if run.job_id in self.store.runs})
        order = {run.job_id: number for number, run in enumerate(runs)}
        return sorted(won, key=lambda run: order[run.job_id])

    def _follows(self, run: Run) -> bool:
        before = self.store.runs.get(run.job_id)
        return before is not None and before.version == run.version - 1

    def _put(self, run: Run) -> bool:
        if not self._follows(run):
            return False
        self.store.runs[run.job_id] = run
        return True
