"""How many VMs all intents together asked for, as an item that the transaction of each intent adds to.

The item has the latest look at EC2 as well, whose numbers mean something beside that count.
"""

from collections.abc import Mapping
from typing import Any

from agent_stack.adapters.dynamodb.items import key, moment, packed, seconds, unpacked
from agent_stack.domain.errors import BugError
from agent_stack.domain.launching import Launched, VmLook

PARTITION = "launched"
KEY = key(PARTITION, "vms")


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
        "UpdateExpression": "SET taken = :taken, launched = :launched, looked_at = :at",
        "ExpressionAttributeValues": packed(
            {":taken": look.taken, ":launched": look.launched, ":at": seconds(look.at)}
        ),
    }


def read_launched(item: Mapping[str, Any] | None) -> Launched:
    """The count and the look; of what is not there yet, 0 and none.

    Raises:
        BugError: the item is not one that any version of this code writes.
    """
    try:
        values = {} if item is None else unpacked(item)
        look = None
        if "looked_at" in values:
            at = moment(values["looked_at"])
            look = VmLook(taken=int(values["taken"]), launched=int(values["launched"]), at=at)
        return Launched(vms=int(values.get("vms", 0)), look=look)
    except (KeyError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise BugError(f"the count of launched VMs cannot be read: {error!r}") from None
