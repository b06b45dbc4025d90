"""The ledger as the operator's command reads it: by the readers of the functions' own adapters, and writing nothing.

An item that cannot be read is left out and counted, so that one bad item never hides the others.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from agent_stack.adapters.dynamodb import items
from agent_stack.adapters.dynamodb.fields import UNREADABLE, maybe_at, whole
from agent_stack.adapters.dynamodb.holds import read_holds
from agent_stack.adapters.dynamodb.launch_memory import read_memory
from agent_stack.adapters.dynamodb.lease import read_pauses
from agent_stack.adapters.dynamodb.standby import PARTITION, read_standby_vm
from agent_stack.adapters.dynamodb.waiting import read_list
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.errors import BugError
from agent_stack.domain.holds import Holds
from agent_stack.domain.identifiers import InstanceArn, JobId
from agent_stack.domain.launching import Intent
from agent_stack.domain.pauses import Pauses
from agent_stack.domain.runs import Run
from agent_stack.domain.standby import StandbyVm
from agent_stack.domain.vms import MailboxStatus
from agent_stack.domain.waiting import WaitingList
from agent_stack_cli.stacks import Stack

ItemT = TypeVar("ItemT")
FUNCTIONS = ("dispatcher", "tracker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who runs one function's cycles.

    Attributes:
        until: how long its lease lasts; None while no invocation holds it.
    """

    function: str
    until: datetime | None
    fence: int


@dataclass(slots=True, kw_only=True)
class Records:
    """The ledger of one stack.

    Attributes:
        unreadable: items that this version cannot read.
        consistent: whether a query shows what was written right before it. It costs twice as much.
    """

    stack: Stack
    consistent: bool = False
    unreadable: list[str] = field(default_factory=list)

    def active(self) -> list[Run]:
        """Runs that have not ended."""
        stored = (item for number in range(items.SHARDS) for item in self._query(f"run#{number}"))
        return [run for item in stored if (run := self._read(items.read_run, item)) is not None]

    def of_job(self, job_id: JobId) -> list[Run]:
        """Every run of that job, ended ones first, oldest first."""
        ended = self._query(items.shard("history", job_id), starts=f"{job_id}#")
        active = self._query(items.shard("run", job_id), starts=job_id)
        return [run for item in (*ended, *active) if (run := self._ended(item)) is not None]

    def ended(self) -> Iterator[Run]:
        """Every run in the history, in no order."""
        for number in range(items.SHARDS):
            for item in self._query(f"history#{number}"):
                run = self._ended(item)
                if run is not None:
                    yield run

    def intents(self) -> list[Intent]:
        """Open launches."""
        return [intent for item in self._query("intent") if (intent := self._read(items.read_intent, item)) is not None]

    def waiting(self) -> WaitingList | None:
        """Who waits and why, as the dispatcher wrote it last."""
        stored = next(iter(self._query("waiting")), None)
        return None if stored is None else read_list(stored)

    def memory(self) -> LaunchMemory:
        """What EC2's answers taught the dispatcher."""
        stored = next(iter(self._query("launching")), None)
        return LaunchMemory() if stored is None else read_memory(stored)

    def holds(self) -> Holds:
        """The VMs that stay up because their boot failed."""
        stored = next(iter(self._query("holds")), None)
        return Holds() if stored is None else read_holds(stored, self.unreadable.append)

    def standby(self) -> list[StandbyVm]:
        """The VMs that stand by, and those of them that are being ended."""
        return [vm for item in self._query(PARTITION) if (vm := self._read(read_standby_vm, item)) is not None]

    def holders(self) -> list[Holder]:
        """Both leases."""
        stored = {item["sk"]["S"]: items.unpacked(item) for item in self._query("lease")}
        return [self._holder(function, stored.get(function, {})) for function in FUNCTIONS]

    def _holder(self, function: str, lease: Mapping[str, Any]) -> Holder:
        """What a lease says; one that cannot be read is named, and seems not to be held."""
        try:
            return Holder(function=function, until=maybe_at(lease, "lease_until"), fence=whole(lease, "fence", 0))
        except UNREADABLE as error:
            name = f"the lease of the {function} (pk lease, sk {function})"
            self.unreadable.append(f"{name} cannot be read: {error}. The function corrects it when it takes the lease")
            return Holder(function=function, until=None, fence=0)

    def pauses(self) -> Pauses:
        """What an operator has paused."""
        stored = self.stack.session.dynamodb.get_item(
            TableName=self.stack.ledger, Key=items.key("lease", "dispatcher"), ConsistentRead=True
        )
        return read_pauses(items.unpacked(stored.get("Item", {})))

    def mailbox(self, arn: InstanceArn) -> MailboxStatus | None:
        """What a VM says of its boot; never the credential."""
        answer = self.stack.session.dynamodb.get_item(
            TableName=self.stack.mailbox,
            Key={"instance_arn": {"S": arn}},
            ProjectionExpression="stage, stage_seconds, detail, revoked",
        )
        return items.read_mailbox_status(answer["Item"]) if "Item" in answer else None

    def _ended(self, item: Mapping[str, Any]) -> Run | None:
        """A run of the history; its sort key is the job's id and the moment of its end."""
        job_id = item["sk"]["S"].partition("#")[0]
        return self._read(items.read_run, {**item, "sk": {"S": job_id}})

    def _query(self, partition: str, *, starts: str = "") -> Iterator[Mapping[str, Any]]:
        condition, values = "pk = :pk", {":pk": {"S": partition}}
        if starts:
            condition, values = condition + " AND begins_with(sk, :sk)", {**values, ":sk": {"S": starts}}
        pages = self.stack.session.dynamodb.get_paginator("query").paginate(
            TableName=self.stack.ledger,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
            ConsistentRead=self.consistent,
        )
        for page in pages:
            yield from page["Items"]

    def _read(self, read: Callable[[Mapping[str, Any]], ItemT], item: Mapping[str, Any]) -> ItemT | None:
        try:
            return read(item)
        except BugError as error:
            self.unreadable.append(str(error))
            return None
