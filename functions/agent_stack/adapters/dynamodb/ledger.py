"""The port `Ledger` over the ledger table, and over the mailbox table where both change together.

Items of the ledger table, by partition key:

    run#<shard>        sort key job id      an active run
    history#<shard>    job id # when        a run that ended; expires
    tombstone#<shard>  job id               how often an ended run's job was bound, and told of it; expires
    told#<shard>       job id               what a job was told while it waited; expires
    waiting            list                 who waits for a VM and why, see `waiting`
    intent             intent id            an open launch
    launching          memory               what EC2 taught us, see `launch_memory`
    lease              function             see `lease`
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from agent_stack.adapters.dynamodb import items
from agent_stack.adapters.dynamodb.launch_memory import memory_values, read_memory
from agent_stack.adapters.dynamodb.table import Item, Table
from agent_stack.adapters.dynamodb.transactions import Group, Transactions
from agent_stack.adapters.dynamodb.waiting import list_values, mark, read_list
from agent_stack.domain.attempts import Earlier
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.errors import BugError, GiveUpError
from agent_stack.domain.identifiers import InstanceId, IntentId, JobId
from agent_stack.domain.launching import Intent
from agent_stack.domain.runs import Run
from agent_stack.domain.vms import Letter
from agent_stack.domain.waiting import Waiting, WaitingList
from agent_stack.ports import Clock, Ids, Telemetry

TOMBSTONE_LIFE = timedelta(days=2)
"""Attempts count for longer than Buildkite keeps a job scheduled by default."""

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

    def active_runs(self) -> Sequence[Run]:
        """See the port."""
        return [run for item in self._run_items() if (run := self._read(items.read_run, item)) is not None]

    def bound_instances(self) -> frozenset[InstanceId]:
        """See the port. Reads one attribute, so that a run no version of ours can read still owns its VM."""
        return frozenset(
            InstanceId(item["instance_id"]["S"])
            for item in self._run_items(only="instance_id")
            if "instance_id" in item
        )

    def earlier(self, job_ids: Sequence[JobId]) -> Mapping[JobId, Earlier]:
        """See the port."""
        keys = [items.key(items.shard("tombstone", job_id), job_id) for job_id in dict.fromkeys(job_ids)]
        return {
            JobId(item["sk"]["S"]): Earlier(
                attempts=int(item["attempts"]["N"]), told=int(item.get("told", {}).get("N", 0))
            )
            for item in self.table.get_many(keys)
        }

    def record(self, runs: Sequence[Run]) -> Sequence[Run]:
        """See the port."""
        return self.transactions.write([self._group(run, lambda run, by: [self._put_run(run, by)]) for run in runs])

    def update(self, runs: Sequence[Run]) -> Sequence[Run]:
        """See the port."""
        return self.transactions.write([self._group(run, lambda run, by: [self._update_run(run, by)]) for run in runs])

    def end(self, runs: Sequence[Run]) -> Sequence[Run]:
        """See the port."""
        return self.transactions.write([self._group(run, self._end_writes) for run in runs])

    def bind(self, pairs: Sequence[tuple[Run, Letter]]) -> Sequence[Run]:
        """See the port."""
        letters = {run.job_id: letter for run, letter in pairs}
        return self.transactions.write(
            [
                self._group(run, lambda run, by: [self._bind_run(run, by), self._put_letter(letters[run.job_id])])
                for run, _ in pairs
            ]
        )

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
                        "Key": items.key("lease", "dispatcher"),
                        "ConditionExpression": "fence = :fence",
                        "ExpressionAttributeValues": items.packed({":fence": fence}),
                    }
                },
                self._put(values, condition="attribute_not_exists(pk)"),
            ),
        )
        if not self.transactions.write([group]):
            raise GiveUpError(f"the dispatcher's lease is not held under number {fence} any more")

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

    def remember_launches(self, memory: LaunchMemory) -> None:
        """See the port."""
        values = {name: value for name, value in memory_values(memory).items() if value is not None}
        self.table.put(items.packed({"pk": "launching", "sk": "memory", **values}))

    def list_waiting(self, waiting: WaitingList) -> None:
        """See the port."""
        self.table.put(items.packed({"pk": "waiting", "sk": "list", **list_values(waiting)}))

    def waiting(self) -> WaitingList | None:
        """See the port."""
        stored = next(iter(self.table.query("waiting")), None)
        return None if stored is None else read_list(stored)

    def mark_told(self, waiting: Sequence[Waiting]) -> Sequence[Waiting]:
        """See the port. One item a job, changed on its own condition, so that of two trackers one may tell."""
        expires_at = int(items.seconds(self.clock.now() + TOMBSTONE_LIFE))
        groups = []
        for job in waiting:
            write_id = self.ids.holder()
            key = items.key(items.shard("told", job.job_id), job.job_id)
            update = {"TableName": self.table.name, "Key": key, **mark(job, write_id=write_id, expires_at=expires_at)}
            groups.append(Group(subject=job, write_id=write_id, writes=({"Update": update},)))
        return self.transactions.write(groups)

    def _run_items(self, *, only: str | None = None) -> Iterator[Item]:
        for number in range(items.SHARDS):
            yield from self.table.query(f"run#{number}", only=only)

    def _read(self, read: Callable[[Item], ValueT], item: Item) -> ValueT | None:
        """One item; None, and said aloud, when it cannot be read: the others go on."""
        try:
            return read(item)
        except BugError as error:
            self.telemetry.error("ledger_item_unreadable", error=str(error))
            return None

    def _group(self, run: Run, writes: Callable[[Run, str], list[Mapping[str, Any]]]) -> Group[Run]:
        write_id = self.ids.holder()
        return Group(subject=run, write_id=write_id, writes=tuple(writes(run, write_id)))

    def _put_run(self, run: Run, write_id: str) -> Mapping[str, Any]:
        values = {"pk": items.shard("run", run.job_id), "sk": run.job_id, "write_id": write_id, **items.run_values(run)}
        return self._put(values, condition="attribute_not_exists(pk)")

    def _update_run(self, run: Run, write_id: str, condition: str = "version = :before") -> Mapping[str, Any]:
        """Attribute by attribute, so that what another version of this code wrote there survives."""
        values = {**items.run_values(run), "write_id": write_id}
        present = items.packed(values)
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in present)
        absent = [name for name in values if name not in present]
        if absent:
            expression += " REMOVE " + ", ".join(f"#{name}" for name in absent)
        return {
            "Update": {
                "TableName": self.table.name,
                "Key": items.key(items.shard("run", run.job_id), run.job_id),
                "UpdateExpression": expression,
                "ConditionExpression": condition,
                "ExpressionAttributeNames": {f"#{name}": name for name in values},
                "ExpressionAttributeValues": {
                    **{f":{name}": value for name, value in present.items()},
                    **items.packed({":before": run.version - 1}),
                },
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def _bind_run(self, run: Run, write_id: str) -> Mapping[str, Any]:
        return self._update_run(run, write_id, "version = :before AND attribute_not_exists(instance_id)")

    def _put_letter(self, letter: Letter) -> Mapping[str, Any]:
        return {
            "Put": {
                "TableName": self.mailboxes.name,
                "Item": items.packed(items.letter_values(letter)),
                "ConditionExpression": "attribute_not_exists(instance_arn)",
            }
        }

    def _end_writes(self, run: Run, write_id: str) -> list[Mapping[str, Any]]:
        """History is put first: after a lost answer it is the item that tells that the write took effect."""
        now = self.clock.now()
        history = {
            "pk": items.shard("history", run.job_id),
            "sk": f"{run.job_id}#{run.state_entered_at.isoformat()}",
            "expires_at": int(items.seconds(now + self.history)),
            "write_id": write_id,
            **items.run_values(run),
        }
        tombstone = {
            "pk": items.shard("tombstone", run.job_id),
            "sk": run.job_id,
            "attempts": run.attempt,
            "told": run.told_so_far,
            "expires_at": int(items.seconds(now + TOMBSTONE_LIFE)),
        }
        writes: list[Mapping[str, Any]] = [
            self._put(history, condition="attribute_not_exists(pk)"),
            {
                "Delete": {
                    "TableName": self.table.name,
                    "Key": items.key(items.shard("run", run.job_id), run.job_id),
                    "ConditionExpression": "version = :before",
                    "ExpressionAttributeValues": items.packed({":before": run.version - 1}),
                }
            },
        ]
        return [*writes, self._put(tombstone)] if run.attempt or run.told_so_far else writes

    def _put(self, values: Mapping[str, Any], *, condition: str | None = None) -> Mapping[str, Any]:
        put: dict[str, Any] = {"TableName": self.table.name, "Item": items.packed(values)}
        if condition is not None:
            put |= {"ConditionExpression": condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        return {"Put": put}
