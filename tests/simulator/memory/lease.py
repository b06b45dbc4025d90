"""The port `Lease` in memory."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from agent_stack.domain.pauses import Pauses
from agent_stack.ports import HeldLease
from tests.simulator.memory.store import LeaseItem, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLease:
    """See the port `Lease`."""

    store: Store
    function: str

    def acquire(self, holder: str, *, now: datetime, ttl: timedelta) -> HeldLease | None:
        """See the port."""
        item = self._item()
        if item.holder not in {None, holder} and item.until is not None and item.until > now:
            return None
        item.holder, item.until, item.successor = holder, now + ttl, None
        item.fence += 1
        item.counted += 1
        return self._held(item)

    def signal(self, holder: str, *, handover: bool) -> None:
        """See the port."""
        item = self._item()
        item.signals += 1
        if handover:
            item.successor = holder

    def renew(self, held: HeldLease, *, now: datetime, ttl: timedelta) -> HeldLease | None:
        """See the port."""
        item = self._item()
        if (item.holder, item.fence) != (held.holder, held.fence):
            return None
        item.until = now + ttl
        return self._held(item)

    def release(self, held: HeldLease) -> bool:
        """See the port."""
        item = self._item()
        if (item.holder, item.fence) != (held.holder, held.fence):
            return True
        if item.signals != held.signals:
            return False
        item.holder = item.until = item.successor = None
        return True

    def pauses(self) -> Pauses:
        """See the port."""
        return self._item().pauses

    def _item(self) -> LeaseItem:
        return self.store.leases.setdefault(self.function, LeaseItem())

    @staticmethod
    def _held(item: LeaseItem) -> HeldLease:
        assert item.holder is not None
        assert item.until is not None
        return HeldLease(
            holder=item.holder,
            fence=item.fence,
            signals=item.signals,
            expires_at=item.until,
            successor=item.successor,
            pauses=item.pauses,
        )
