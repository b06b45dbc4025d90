"""How the list of held VMs looks as a DynamoDB item."""

from collections.abc import Callable, Mapping
from typing import Any

from agent_stack.adapters.dynamodb.fields import UNREADABLE, at, count, members, text
from agent_stack.adapters.dynamodb.items import seconds, unpacked
from agent_stack.domain.errors import BugError
from agent_stack.domain.holds import Hold, Holds
from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId

REMEDY = "Delete the item `holds`, `list` of the ledger table: no VM is held until the next boot fails."


def holds_values(holds: Holds) -> dict[str, Any]:
    """The item's attributes."""
    return {
        "version": holds.version,
        "vms": [
            {
                "instance_id": hold.instance_id,
                "instance_arn": hold.arn,
                "class_name": hold.class_name,
                "until": seconds(hold.until),
            }
            for hold in holds.vms
        ]
        or None,
    }


def read_holds(item: Mapping[str, Any], unreadable: Callable[[str], None]) -> Holds:
    """The VMs behind an item. One that cannot be read is left out: orphan cleanup ends it like any VM without a run.

    Args:
        unreadable: told of each that no version of this code writes.

    Raises:
        BugError: it has no readable version, so nothing could be recorded on top of it.
    """
    vms: list[Hold] = []
    try:
        values = unpacked(item)
        version = count(values, "version")
    except UNREADABLE as error:
        raise BugError(f"the record of held VMs has no version that can be read: {error!r}. {REMEDY}") from None
    try:
        for stored in members(values, "vms"):
            try:
                vms.append(_hold(stored))
            except UNREADABLE as error:
                unreadable(f"a held VM cannot be read: {error!r}")
    except UNREADABLE as error:
        unreadable(f"the held VMs cannot be read: {error!r}")
    return Holds(version=version, vms=tuple(vms))


def _hold(stored: Mapping[str, Any]) -> Hold:
    return Hold(
        instance_id=InstanceId(text(stored, "instance_id")),
        arn=InstanceArn(text(stored, "instance_arn")),
        class_name=ClassName(text(stored, "class_name")),
        until=at(stored, "until"),
    )
