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
from agent_stack.adapters.dynamodb.fields import at, moment, whole
from agent_stack.adapters.dynamodb.table import Item, Refused, Table
from agent_stack.adapters.dynamodb.wire import pack
from agent_stack.domain.errors import AgentStackError, RetryError, UnknownOutcomeError, WaitError
from agent_stack.domain.pauses import OperatorPause, Pauses
from agent_stack.ports import HeldLease

PAUSED, RESUMED = "paused#", "resumed#"
COUNTERS = ("fence", "counted", "wakes")
NEVER = timedelta(days=1)
"""No lease is held for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamoLease:
    """One function's lease."""

    table: Table
    function: str

    def acquire(self, holder: str, *, now: datetime, ttl: timedelta) -> HeldLease | None:
        """See the port. The holder itself may take it again: so a lost answer costs one fencing number.

        Raises:
            RetryError: the item had a counter that is no number. It has one now, so the next try takes the lease.
        """
        try:
            return self._taken(holder, now=now, ttl=ttl)
        except (WaitError, UnknownOutcomeError):
            mended = self._mend_counters(now)
            if not mended:
                raise
        names = " and ".join(mended)
        raise RetryError(
            f"the lease item (pk lease, sk {self.function}) had no number in {names}; it was set to the time, "
            "which is more than any earlier number. Find out who changed the item"
        )

    def _taken(self, holder: str, *, now: datetime, ttl: timedelta) -> HeldLease | None:
        """Takes it where nobody has it. An end that is no time, or days away, is none: it would hold for ever."""
        return self._update(
            "SET holder = :holder, lease_until = :until, fence = if_not_exists(fence, :zero) + :one, "
            "counted = if_not_exists(counted, :zero) + :one, wakes = if_not_exists(wakes, :zero) REMOVE successor",
            "attribute_not_exists(holder) OR holder = :holder OR NOT attribute_type(lease_until, :number) "
            "OR lease_until <= :now OR lease_until > :never",
            {
                ":holder": holder,
                ":until": items.seconds(now + ttl),
                ":now": items.seconds(now),
                ":zero": 0,
                ":one": 1,
                ":number": "N",
                ":never": items.seconds(now + NEVER),
            },
        )

    def _mend_counters(self, now: datetime) -> list[str]:
        """Sets counters that are no numbers to the time: a fencing number may only grow. Which ones it set."""
        try:
            stored = next(self.table.get_many([self._key()]), {})
            wrong = [name for name in COUNTERS if name in stored and "N" not in stored[name]]
            for name in wrong:
                self.table.update(
                    self._key(),
                    UpdateExpression=f"SET {name} = :fresh",
                    ConditionExpression=f"attribute_exists({name}) AND NOT attribute_type({name}, :number)",
                    ExpressionAttributeValues=items.packed({":fresh": int(now.timestamp()), ":number": "N"}),
                )
        except AgentStackError:
            return []  # what failed before is what to say
        return wrong

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
        whole(stored, "wakes")  # a signal while nobody holds the lease
        return None
    successor = stored.get("successor")
    return HeldLease(
        holder=required_text(stored["holder"]),
        fence=whole(stored, "fence"),
        signals=whole(stored, "wakes"),
        expires_at=at(stored, "lease_until"),
        successor=successor if isinstance(successor, str) and successor else None,
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
        by=_words(told.get("by")),
        reason=_words(told.get("reason")),
    )


def _words(value: Any) -> str:  # noqa: ANN401  (whatever the item holds)
    return str(value) if isinstance(value, str | Decimal) else ""


def _at(value: Any) -> datetime | None:  # noqa: ANN401  (whatever the item holds)
    try:
        return moment(value) if isinstance(value, Decimal) else None
    except (ValueError, ArithmeticError):
        return None
