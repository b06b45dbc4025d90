"""How many VMs all intents together asked for, as an item that the transaction of each intent adds to.

The item has the latest look at EC2 as well, whose numbers mean something beside that count.

An earlier version launches without counting. Each holder adds 1 to the lease's `fence`, one of a version that
counts adds 1 to `counted` as well. So their difference grows only while a version that does not count holds it.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from agent_stack.adapters.dynamodb.fields import UNREADABLE, at, count, unreadable, whole
from agent_stack.adapters.dynamodb.items import key, packed, seconds, unpacked
from agent_stack.domain.launching import Launched, VmLook

KEY = key("launched", "vms")
LEASE = key("lease", "dispatcher")


def counting(table: str, more: int) -> Mapping[str, Any]:
    """The write that adds the VMs of an intent."""
    return {
        "Update": {
            "TableName": table,
            "Key": KEY,
            "UpdateExpression": "ADD vms :count",
            "ExpressionAttributeValues": packed({":count": more}),
        }
    }


def looking(look: VmLook) -> Mapping[str, Any]:
    """The update that replaces the latest look."""
    return {
        "UpdateExpression": "SET taken = :taken, launched = :launched, uncounted = :uncounted, looked_at = :at",
        "ExpressionAttributeValues": packed(
            {
                ":taken": look.taken,
                ":launched": look.launched,
                ":uncounted": look.uncounted,
                ":at": seconds(look.at),
            }
        ),
    }


def read_launched(found: Iterable[Mapping[str, Any]]) -> Launched:
    """The count and the look, of the items of `KEY` and `LEASE`; of what is not there yet, 0 and none.

    Raises:
        BugError: the items are not such that any version of this code writes.
    """
    try:
        each = {item["pk"]: item for item in map(unpacked, found)}
        values, lease = each.get("launched", {}), each.get("lease", {})
        uncounted = whole(lease, "fence", 0) - whole(lease, "counted", 0)
        vms = count(values, "vms") if "vms" in values else 0  # null is nothing that an intent could add to
        return Launched(vms=vms, uncounted=uncounted, look=_look(values, vms))
    except UNREADABLE as error:
        raise unreadable("the count of launched VMs (pk launched, sk vms)", error) from None


def mending(now: datetime) -> Mapping[str, Any]:
    """The update of a count that is no number, which no intent could add to: the time, more than was ever counted.

    So a look from before, which another process may still record, seems to have no room, and EC2 is looked at again.
    """
    return {
        "UpdateExpression": "SET vms = :fresh REMOVE taken, launched, uncounted, looked_at",
        "ConditionExpression": "attribute_exists(vms) AND NOT attribute_type(vms, :number)",
        "ExpressionAttributeValues": packed({":fresh": int(now.timestamp()), ":number": "N"}),
    }


def _look(values: Mapping[str, Any], vms: int) -> VmLook | None:
    """The latest look; none where it cannot be read or does not go with the count, so that EC2 is looked at again."""
    if "uncounted" not in values:
        return None
    try:
        look = VmLook(
            taken=count(values, "taken"),
            launched=count(values, "launched"),
            uncounted=whole(values, "uncounted"),
            at=at(values, "looked_at"),
        )
    except UNREADABLE:
        return None
    return look if look.launched <= vms else None
