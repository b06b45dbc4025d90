"""The port `Lease`: one item for each function, in the ledger table.

Attributes: `holder` and `lease_until` while it is held; `fence`, which only grows; `counted`, see `launched`; `wakes`,
which counts the signals; `successor`, the invocation that waits to take over. The operator's command writes two more
into the dispatcher's item, for each queue or `*` for all: `paused#<queue>`, a map of `at`, `by` and `reason`, and
`resumed#<queue>`, a point in time. No update of the functions touches those.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from agent_stack.adapters.aws import required_text
from agent_stack.adapters.dynamodb import items
from agent_stack.adapters.dynamodb.table import Item, Refused, Table
from agent_stack.adapters.dynamodb.wire import pack
from agent_stack.domain.pauses import OperatorPause, Pauses
from agent_stack.ports import HeldLease

PAUSED, RESUMED = "paused#", "resumed#"


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamoLease:
    """One function's lease."""

    table: Table
    function: str

    def acquire(self, holder: str, *, now: datetime, ttl: timedelta) -> HeldLease | None:
        """See the port. The holder itself may take it again: so a lost answer costs one fencing number."""
        return self._update(
            "SET holder = :holder, lease_until = :until, fence = if_not_exists(fence, :zero) + :one, "
            "counted = if_not_exists(counted, :zero) + :one, wakes = if_not_exists(wakes, :zero) REMOVE successor",
            "attribute_not_exists(holder) OR lease_until <= :now OR holder = :holder",
            {
                ":holder": holder,
                ":until": items.seconds(now + ttl),
                ":now": items.seconds(now),
                ":zero": 0,
                ":one": 1,
            },
        )

    def signal(self, holder: str, *, handover: bool) -> None:
        """See the port."""
        if handover:
            self._update("SET successor = :holder ADD wakes :one", None, {":holder": holder, ":one": 1})
        else:
            self._update("ADD wakes :one", None, {":one": 1})

    def renew(self, held: HeldLease, *, now: datetime, ttl: timedelta) -> HeldLease | None:
        """See the port."""
        return self._update(
            "SET lease_until = :until",
            "holder = :holder AND fence = :fence",
            {":until": items.seconds(now + ttl), ":holder": held.holder, ":fence": held.fence},
        )

    def release(self, held: HeldLease) -> bool:
        """See the port. Only a signal refuses it. A lease that another process holds counts as released."""
        answer = self.table.update(
            self._key(),
            UpdateExpression="REMOVE holder, lease_until, successor",
            ConditionExpression="holder = :holder AND fence = :fence AND wakes = :wakes",
            ExpressionAttributeValues=items.packed(
                {":holder": held.holder, ":fence": held.fence, ":wakes": held.signals}
            ),
        )
        if not isinstance(answer, Refused):
            return True
        now = answer.item or {}
        return (now.get("holder"), now.get("fence")) != (pack(held.holder), pack(held.fence))

    def pauses(self) -> Pauses:
        """See the port."""
        stored = next(self.table.get_many([self._key()]), {})
        return read_pauses(items.unpacked(stored))

    def _key(self) -> Item:
        return items.key("lease", self.function)

    def _update(self, expression: str, condition: str | None, values: Mapping[str, Any]) -> HeldLease | None:
        answer = self.table.update(
            self._key(),
            UpdateExpression=expression,
            ExpressionAttributeValues=items.packed(values),
            ReturnValues="ALL_NEW",
            read=_held,
            **({"ConditionExpression": condition} if condition else {}),
        )
        # Refused after a try in doubt, too, somebody else holds it: the holder's own repeat would have been accepted.
        return None if isinstance(answer, Refused) else answer


def _held(item: Item) -> HeldLease | None:
    stored = items.unpacked(item)
    if "holder" not in stored:
        int(stored["wakes"])  # a signal while nobody holds the lease
        return None
    successor = stored.get("successor")
    return HeldLease(
        holder=required_text(stored["holder"]),
        fence=int(stored["fence"]),
        signals=int(stored["wakes"]),
        expires_at=items.moment(stored["lease_until"]),
        successor=None if successor is None else required_text(successor),
        pauses=read_pauses(stored),
    )


def read_pauses(stored: Mapping[str, Any]) -> Pauses:
    """The pauses in a lease's item. A pause whose details cannot be read still pauses."""
    resumed = {name.removeprefix(RESUMED): _at(value) for name, value in stored.items() if name.startswith(RESUMED)}
    return Pauses(
        paused={name.removeprefix(PAUSED): _pause(value) for name, value in stored.items() if name.startswith(PAUSED)},
        resumed={name: at for name, at in resumed.items() if at is not None},
    )


def _pause(value: Any) -> OperatorPause:  # noqa: ANN401  (whatever the item holds)
    told: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
    return OperatorPause(
        since=_at(told.get("at")) or datetime.fromtimestamp(0, UTC),
        by=str(told.get("by", "")),
        reason=str(told.get("reason", "")),
    )


def _at(value: Any) -> datetime | None:  # noqa: ANN401  (whatever the item holds)
    try:
        return items.moment(value) if isinstance(value, Decimal) else None
    except (ValueError, ArithmeticError):
        return None
