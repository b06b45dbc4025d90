"""How many VMs all intents together asked for, as an item that the transaction of each intent adds to.

The item has the latest look at EC2 as well, whose numbers mean something beside that count.

An earlier version launches without counting. Each holder adds 1 to the lease's `fence`, one of a version that
counts adds 1 to `counted` as well. So their difference grows only while a version that does not count holds it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from agent_stack.adapters.dynamodb.items import key, moment, packed, seconds, unpacked
from agent_stack.domain.errors import BugError
from agent_stack.domain.launching import Launched, VmLook

KEY = key("launched", "vms")
LEASE = key("lease", "dispatcher")


def counting(table: str, count: int) -> Mapping[str, Any]:
    """The write that adds the VMs of an intent."""
    return {
        "Update": {
            "TableName": table,
            "Key": KEY,
            "UpdateExpression": "ADD vms :count",
            "ExpressionAttributeValues": packed({":count": count}),
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
        look = None
        if "uncounted" in values:
            look = VmLook(
                taken=int(values["taken"]),
                launched=int(values["launched"]),
                uncounted=int(values["uncounted"]),
                at=moment(values["looked_at"]),
            )
        uncounted = int(lease.get("fence", 0)) - int(lease.get("counted", 0))
        return Launched(vms=int(values.get("vms", 0)), uncounted=uncounted, look=look)
    except (KeyError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise BugError(f"the count of launched VMs cannot be read: {error!r}") from None
