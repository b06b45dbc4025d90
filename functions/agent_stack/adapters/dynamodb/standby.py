"""The port `StandbyVms`: one item of the ledger table for each VM, under the partition key `standby`.

Closing a VM writes two items in one transaction: the mark on the list, and its mailbox, as `Ledger.close_mailboxes`
closes any. That has the opposite of a binding's condition, so exactly one of the two succeeds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from agent_stack.adapters.dynamodb import fields, items
from agent_stack.adapters.dynamodb.fields import UNREADABLE, unreadable
from agent_stack.adapters.dynamodb.run_writes import close_mailbox, put
from agent_stack.adapters.dynamodb.table import Item, Table
from agent_stack.adapters.dynamodb.transactions import Group, Transactions
from agent_stack.domain.errors import BugError, RetryError
from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId, IntentId
from agent_stack.domain.standby import Closing, StandbyVm
from agent_stack.domain.states import CapacityType
from agent_stack.outages import Outages
from agent_stack.ports import Clock, Ids, Telemetry

PARTITION = "standby"
KEPT = timedelta(days=1)
"""After the end of its hold: how long an item stays that nobody removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamoStandbyVms:
    """The list of one deployment."""

    table: Table
    mailboxes: Table
    transactions: Transactions
    clock: Clock
    ids: Ids
    telemetry: Telemetry
    _said: Outages = field(default_factory=Outages, init=False, repr=False, compare=False)

    def listed(self) -> Sequence[StandbyVm]:
        """See the port. An item that no version of ours can read is left alone: its VM ends by its hold."""
        return list(self._readable(self.table.query(PARTITION)))

    def add(self, vms: Sequence[StandbyVm]) -> None:
        """See the port."""
        groups = []
        for vm in vms:
            write_id = self.ids.holder()
            values = {"pk": PARTITION, "sk": vm.instance_id, "write_id": write_id, **_values(vm)}
            write = put(self.table.name, values, condition="attribute_not_exists(pk)")
            groups.append(Group(subject=vm, write_id=write_id, writes=(write,)))
        undecided: list[StandbyVm] = []
        self.transactions.write(groups, undecided)
        if undecided:
            raise RetryError(f"{len(undecided)} of {len(vms)} standby VMs could not be put on the list")

    def close(self, vms: Sequence[StandbyVm]) -> Sequence[StandbyVm]:
        """See the port."""
        return self.transactions.write([self._closing(vm, self.ids.holder()) for vm in vms if vm.closing is not None])

    def remove(self, instance_ids: Sequence[InstanceId]) -> None:
        """See the port."""
        for instance_id in instance_ids:
            self.table.delete(items.key(PARTITION, instance_id))

    def _closing(self, vm: StandbyVm, write_id: str) -> Group[StandbyVm]:
        marked = {
            "TableName": self.table.name,
            "Key": items.key(PARTITION, vm.instance_id),
            "UpdateExpression": "SET closing = :closing, write_id = :write_id",
            "ConditionExpression": "attribute_exists(pk) AND attribute_not_exists(closing)",
            "ExpressionAttributeValues": items.packed({":closing": vm.closing, ":write_id": write_id}),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        closed = close_mailbox(self.mailboxes.name, vm.arn, write_id, now=self.clock.now(), until=vm.expires_at)
        return Group(subject=vm, write_id=write_id, writes=({"Update": marked}, closed))

    def _readable(self, stored: Iterator[Item]) -> Iterator[StandbyVm]:
        for item in stored:
            try:
                yield read_standby_vm(item)
            except BugError as error:
                self._said.serious(str(error), self.telemetry, "ledger_item_unreadable", error=str(error))


def _values(vm: StandbyVm) -> dict[str, Any]:
    return {
        "arn": vm.arn,
        "class_name": vm.class_name,
        "launched_at": items.seconds(vm.launched_at),
        "hold": int(vm.hold.total_seconds()),
        "shape": vm.shape or None,
        "type": vm.instance_type or None,
        "zone": vm.zone or None,
        "market": vm.capacity_type.value,
        "intent": vm.intent_id,
        "closing": vm.closing,
        "expires_at": int(items.seconds(vm.expires_at + KEPT)),
    }


def read_standby_vm(item: Item) -> StandbyVm:
    """The VM behind an item of the list.

    Raises:
        BugError: no version of this code writes such an item.
    """
    try:
        return _read(items.unpacked(item))
    except UNREADABLE as error:
        raise unreadable(f"standby item {item.get('sk', {}).get('S', 'without a key')}", error) from None


def _read(values: Mapping[str, Any]) -> StandbyVm:
    intent = fields.maybe_text(values, "intent")
    return StandbyVm(
        instance_id=InstanceId(fields.text(values, "sk")),
        arn=InstanceArn(fields.text(values, "arn")),
        class_name=ClassName(fields.text(values, "class_name")),
        launched_at=fields.at(values, "launched_at"),
        hold=timedelta(seconds=fields.count(values, "hold")),
        shape=fields.text(values, "shape", ""),
        instance_type=fields.text(values, "type", ""),
        zone=fields.text(values, "zone", ""),
        capacity_type=CapacityType(fields.text(values, "market")),
        intent_id=None if intent is None else IntentId(intent),
        closing=_closing_of(values),
    )


def _closing_of(values: Mapping[str, Any]) -> Closing | None:
    """A reason that a later version knows closes a VM all the same, and so does one that cannot be read."""
    if "closing" not in values:
        return None
    stored = values["closing"]
    return Closing(stored) if isinstance(stored, str) and stored in set(Closing) else Closing.SCALE_DOWN
