"""The port `Ledger` over the ledger table, and over the mailbox table where both change together.

Items of the ledger table, by partition key:

    run#<shard>        sort key job id      an active run
    history#<shard>    job id # when        a run that ended; expires
    tombstone#<shard>  job id               how often an ended run's job was bound and notified; expires
    told#<shard>       job id               the wait reasons that a job was notified of; expires
    waiting            list                 who waits for a VM and why, see `waiting`
    intent             intent id            an open launch
    launching          memory               what EC2 taught us, see `launch_memory`
    launched           vms                  how many VMs all intents together asked for, see `launched`
    holds              list                 VMs that stay up because their boot failed, see `holds`
    stack_keys         keys                 under which keys the queues are registered with Buildkite
    lease              function             see `lease`
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from agent_stack.adapters.dynamodb import items
from agent_stack.adapters.dynamodb.holds import holds_values, read_holds
from agent_stack.adapters.dynamodb.known_runs import SIGNATURE, KnownRuns
from agent_stack.adapters.dynamodb.launch_memory import memory_values, read_memory
from agent_stack.adapters.dynamodb.launched import KEY as LAUNCHED
from agent_stack.adapters.dynamodb.launched import LEASE, counting, looking, mending, read_launched
from agent_stack.adapters.dynamodb.run_writes import TOMBSTONE_LIFE, RunWrites, close_mailbox, put
from agent_stack.adapters.dynamodb.table import Item, Table
from agent_stack.adapters.dynamodb.transactions import Group, Transactions
from agent_stack.adapters.dynamodb.waiting import list_values, mark, read_list
from agent_stack.adapters.dynamodb.wire import pack
from agent_stack.domain.attempts import PriorUsage
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.errors import BugError, GiveUpError
from agent_stack.domain.holds import Holds
from agent_stack.domain.identifiers import InstanceArn, InstanceId, IntentId, JobId
from agent_stack.domain.launching import Intent, Launched, VmLook
from agent_stack.domain.runs import Run
from agent_stack.domain.stack_keys import StackKeyRecord
from agent_stack.domain.vms import Assignment
from agent_stack.domain.waiting import Waiting, WaitingList
from agent_stack.outages import Outages
from agent_stack.ports import Claims, Clock, ClosedMailboxes, Ids, Telemetry

ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamoLedger:
    """Runs and intents of one deployment.

    Attributes:
        history: how long ended runs are kept.
    """

    table: Table
    mailboxes: Table
    transactions: Transactions
    history: timedelta
    clock: Clock
    ids: Ids
    telemetry: Telemetry
    _known: KnownRuns = field(default_factory=KnownRuns, init=False, repr=False, compare=False)
    _said: Outages = field(default_factory=Outages, init=False, repr=False, compare=False)

    def active_runs(self) -> Sequence[Run]:
        """See the port. A run that nobody wrote since this process saw it is not read in full again."""
        runs: list[Run] = []
        if self._known:
            runs += self._read_in_full(self._unknown(runs))
        else:
            runs += self._learnt(self._run_items())
        self._known.forget_others(runs)
        return runs

    def refreshed_runs(self) -> Sequence[Run]:
        """See the port. DynamoDB leaves out the runs that have a VM, so that nothing of theirs is parsed here.

        A run that is known without a VM and that is left out is read by its key: it may have ended, or a binding whose
        answer was lost took effect.
        """
        waiting: list[Run] = []
        unknown = self._unknown(waiting, where="attribute_not_exists(instance_id)")
        waiting += self._read_in_full(unknown)
        there = {run.job_id for run in waiting}
        others = [run for run in self._known if run.job_id not in there]
        gone = [self._key(run.job_id) for run in others if run.binding is None]  # has a VM by now, or ended
        runs = [*waiting, *(run for run in others if run.binding is not None), *self._read_in_full(gone)]
        self._known.forget_others(runs)
        return runs

    def bound_instances(self) -> frozenset[InstanceId]:
        """See the port. Reads two attributes, so that a run no version of ours can read still owns its VM."""
        owned = map(items.bound_instance, self._run_items(only=("sk", *items.BOUND)))
        return frozenset(instance_id for instance_id in owned if instance_id is not None)

    def earlier(self, job_ids: Sequence[JobId]) -> Mapping[JobId, PriorUsage]:
        """See the port."""
        keys = [items.key(items.shard("tombstone", job_id), job_id) for job_id in dict.fromkeys(job_ids)]
        used: dict[JobId, PriorUsage] = {}
        for item in self.table.get_many(keys):
            usage = self._read(items.read_prior_usage, item)
            if usage is not None:
                used[JobId(item["sk"]["S"])] = usage
        return used

    def record(self, runs: Sequence[Run]) -> Sequence[Run]:
        """See the port."""
        return self._write([self._group(run, self._writes.record) for run in runs])

    def update(self, runs: Sequence[Run]) -> Sequence[Run]:
        """See the port."""
        return self._write([self._group(run, self._writes.update) for run in runs])

    def end(self, runs: Sequence[Run]) -> Sequence[Run]:
        """See the port."""
        end = partial(self._writes.end, now=self.clock.now(), history=self.history)
        return self.transactions.write([self._group(run, end) for run in runs])

    def bind(self, pairs: Sequence[tuple[Run, Assignment]]) -> Sequence[Run]:
        """See the port."""
        assignments = {run.job_id: assignment for run, assignment in pairs}
        return self._write(
            [self._group(run, partial(self._writes.bind, assignment=assignments[run.job_id])) for run, _ in pairs]
        )

    def close_mailboxes(self, arns: Sequence[InstanceArn]) -> ClosedMailboxes:
        """See the port."""
        now = self.clock.now()
        groups = []
        for arn in arns:
            write_id = self.ids.holder()
            write = close_mailbox(self.mailboxes.name, arn, write_id, now=now, until=now)
            groups.append(Group(subject=arn, write_id=write_id, writes=(write,)))
        undecided: list[InstanceArn] = []
        closed = self.transactions.write(groups, undecided)
        return ClosedMailboxes(closed=frozenset(closed), undecided=frozenset(undecided))

    def open_intents(self) -> Sequence[Intent]:
        """See the port."""
        stored = self.table.query("intent")
        return [intent for item in stored if (intent := self._read(items.read_intent, item)) is not None]

    def write_intent(self, intent: Intent, *, fence: int) -> None:
        """See the port. The one effect that the fence guards: launching is what two dispatchers must not both do."""
        write_id = self.ids.holder()
        values = {"pk": "intent", "sk": intent.intent_id, "write_id": write_id, **items.intent_values(intent)}
        group = Group(
            subject=intent,
            write_id=write_id,
            writes=(
                {
                    "ConditionCheck": {
                        "TableName": self.table.name,
                        "Key": LEASE,
                        "ConditionExpression": "fence = :fence",
                        "ExpressionAttributeValues": items.packed({":fence": fence}),
                    }
                },
                put(self.table.name, values, condition="attribute_not_exists(pk)"),
                counting(self.table.name, intent.count),
            ),
        )
        if not self.transactions.write([group]):
            raise GiveUpError(f"the dispatcher's lease is not held under number {fence} any more")

    def launched(self) -> Launched:
        """See the port. A count that is no number is set to one, because no intent could add to it."""
        try:
            return read_launched(self.table.get_many([LAUNCHED, LEASE]))
        except BugError as error:
            self._unreadable(str(error))
            self.table.update(LAUNCHED, **mending(self.clock.now()))
            raise

    def record_look(self, look: VmLook) -> None:
        """See the port."""
        self.table.update(LAUNCHED, **looking(look))

    def spend_intent(self, intent: Intent) -> None:
        """See the port."""
        values = items.packed({":spent": True, ":vms": items.intent_values(intent)["vms"] or None})
        self.table.update(
            items.key("intent", intent.intent_id),
            UpdateExpression="SET spent = :spent" + (", vms = :vms" if intent.vms else ""),
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeValues=values,
        )

    def close_intent(self, intent_id: IntentId) -> None:
        """See the port."""
        self.table.delete(items.key("intent", intent_id))

    def launch_memory(self) -> LaunchMemory:
        """See the port."""
        stored = next(iter(self.table.query("launching")), None)
        return LaunchMemory() if stored is None else read_memory(stored)

    def remember_launches(self, memory: LaunchMemory, *, fence: int) -> None:
        """See the port. Version 0.1.0 writes no fence, and so may be written over; so may a fence that is no number.

        So may one beyond that of the lease: a person has deleted or changed that since, and it would hold for long.
        """
        values = {name: value for name, value in memory_values(memory).items() if value is not None}
        item = items.packed({"pk": "launching", "sk": "memory", "fence": fence, **values})
        kept = self.table.put_unless(
            item,
            condition="NOT attribute_type(fence, :number) OR fence <= :fence",
            values=items.packed({":fence": fence, ":number": "N"}),
        )
        if not kept and next(self.table.get_many([LEASE]), {}).get("fence") == pack(fence):
            self.table.put(item)

    def list_waiting(self, waiting: WaitingList) -> None:
        """See the port."""
        self.table.put(items.packed({"pk": "waiting", "sk": "list", **list_values(waiting)}))

    def waiting(self) -> WaitingList | None:
        """See the port."""
        stored = next(iter(self.table.query("waiting")), None)
        return None if stored is None else read_list(stored)

    def stack_keys(self) -> StackKeyRecord | None:
        """See the port."""
        stored = next(iter(self.table.query("stack_keys")), None)
        return None if stored is None else items.read_stack_keys(stored)

    def record_stack_keys(self, record: StackKeyRecord, *, only_if_new: bool = False) -> None:
        """See the port."""
        item = items.packed({"pk": "stack_keys", "sk": "keys", **items.stack_key_values(record)})
        if only_if_new:
            self.table.put_unless(item, condition="attribute_not_exists(pk)")
        else:
            self.table.put(item)

    def holds(self) -> Holds:
        """See the port."""
        stored = next(iter(self.table.query("holds")), None)
        return Holds() if stored is None else read_holds(stored, self._unreadable)

    def record_holds(self, holds: Holds) -> bool:
        """See the port."""
        return self.table.put_unless(
            items.packed({"pk": "holds", "sk": "list", **holds_values(holds)}),
            condition="attribute_not_exists(version) OR version = :before",
            values=items.packed({":before": holds.version - 1}),
        )

    def claim_notices(self, waiting: Sequence[Waiting]) -> Claims:
        """See the port. One item a job, changed on its own condition, so that one of two trackers sends it."""
        expires_at = int(items.seconds(self.clock.now() + TOMBSTONE_LIFE))
        groups = []
        for job in waiting:
            write_id = self.ids.holder()
            key = items.key(items.shard("told", job.job_id), job.job_id)
            update = {"TableName": self.table.name, "Key": key, **mark(job, write_id=write_id, expires_at=expires_at)}
            groups.append(Group(subject=job, write_id=write_id, writes=({"Update": update},)))
        undecided: list[Waiting] = []
        claimed = self.transactions.write(groups, undecided)
        return Claims(claimed=claimed, undecided=undecided)

    def _write(self, groups: Sequence[Group[Run]]) -> Sequence[Run]:
        won = self.transactions.write(groups)
        signatures = {group.subject.job_id: group.write_id for group in groups}
        for run in won:
            self._known.learn(run, signatures[run.job_id])
        return won

    def _read_in_full(self, keys: Sequence[Item]) -> Iterator[Run]:
        return self._learnt(self.table.get_many(keys))

    def _learnt(self, stored: Iterable[Item]) -> Iterator[Run]:
        for item in stored:
            run = self._read(items.read_run, item)
            if run is not None:
                self._known.learn(run, item.get("write_id", {}).get("S"))
                yield run

    def _unknown(self, known: list[Run], *, where: str = "") -> list[Item]:
        """The keys of active runs that are to be read in full; adds the others to `known`."""
        keys: list[Item] = []
        for item in self._run_items(only=SIGNATURE, where=where):
            run = self._known.of(item)
            if run is None:
                keys.append(self._key(JobId(item["sk"]["S"])))
            else:
                known.append(run)
        return keys

    @staticmethod
    def _key(job_id: JobId) -> Item:
        return items.key(items.shard("run", job_id), job_id)

    def _run_items(self, *, only: Sequence[str] = (), where: str = "") -> Iterator[Item]:
        for number in range(items.SHARDS):
            yield from self.table.query(f"run#{number}", only=only, where=where)

    def _read(self, read: Callable[[Item], ValueT], item: Item) -> ValueT | None:
        """One item; None, and said aloud, when it cannot be read: the others go on."""
        try:
            return read(item)
        except BugError as error:
            self._unreadable(str(error))
            return None

    def _unreadable(self, error: str) -> None:
        """Once; the alarm rings while it lasts."""
        self._said.serious(error, self.telemetry, "ledger_item_unreadable", error=error)

    @property
    def _writes(self) -> RunWrites:
        return RunWrites(table=self.table.name, mailboxes=self.mailboxes.name, known=self._known)

    def _group(self, run: Run, writes: Callable[[Run, str], list[Mapping[str, Any]]]) -> Group[Run]:
        write_id = self.ids.holder()
        return Group(subject=run, write_id=write_id, writes=tuple(writes(run, write_id)))
