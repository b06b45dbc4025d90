"""The cluster's queues: paused or not, and whether anybody still polls them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tests.simulator.buildkite.agenda import Agenda
from tests.simulator.buildkite.events import EventBus, QueueStatusChanged


class QueueStatus(StrEnum):
    """What the cluster page shows beside a queue."""

    CONNECTED = "Connected"
    DISCONNECTED = "Disconnected"


@dataclass(slots=True, kw_only=True, eq=False)
class Queue:
    """One queue of the cluster."""

    id: str
    key: str
    paused: bool = False
    status: QueueStatus = QueueStatus.DISCONNECTED
    last_polled_at: datetime | None = None


class Queues:
    """Queues by key. A listing keeps a queue Connected for a while; silence disconnects it."""

    def __init__(
        self, *, agenda: Agenda, events: EventBus, disconnected_after: timedelta, aliases: Mapping[str, str]
    ) -> None:
        self._agenda = agenda
        self._events = events
        self._disconnected_after = disconnected_after
        self._aliases = aliases
        self._by_key: dict[str, Queue] = {}

    def __getitem__(self, key: str) -> Queue:
        return self._by_key[key]

    def find(self, key: str) -> Queue | None:
        """The queue with that key, if there is one."""
        return self._by_key.get(key)

    def named_by_a_stack(self, name: str) -> Queue | None:
        """The queue that a stack means: stacks may call the default queue by an alias. Agents may not."""
        return self.find(self._aliases.get(name, name))

    def add(self, queue: Queue) -> None:
        """Add a queue to the cluster."""
        self._by_key[queue.key] = queue

    def polled(self, queue: Queue, at: datetime) -> None:
        """A stack listed the queue's jobs."""
        queue.last_polled_at = at
        self._show(queue, QueueStatus.CONNECTED, at)
        self._agenda.set(
            f"queue {queue.key} disconnects",
            at + self._disconnected_after,
            lambda due: self._show(queue, QueueStatus.DISCONNECTED, due),
        )

    def _show(self, queue: Queue, status: QueueStatus, at: datetime) -> None:
        if queue.status is status:
            return
        queue.status = status
        self._events.publish(QueueStatusChanged(at=at, queue_key=queue.key, connected=status is QueueStatus.CONNECTED))
