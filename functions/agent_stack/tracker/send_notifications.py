"""Send notifications: sends to the build pages what the cycle remembered, after everything else, each one once.

A build page is the least urgent thing that the tracker serves. So each request has one short try, a cycle spends a
bounded time on them, and after a failure the tracker leaves the endpoint alone for a while. What is not sent within
`EXPIRES` is dropped, because it is remembered as sent and would mislead by then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_stack.domain.errors import AgentStackError, NotAskedError, TransientError
from agent_stack.domain.identifiers import JobId, QueueKey
from agent_stack.ports import Clock, Notification, StacksApi, Telemetry
from agent_stack.tracker.cycle import TrackerCycle

BATCH = 1_000
"""Notifications in one request, at most one for each job, so that their order is kept and a failure names its own."""

BUDGET = timedelta(seconds=1)
"""A cycle begins no request after this time."""

HOLD_OFF = timedelta(seconds=10)
EXPIRES = timedelta(minutes=2)
MAX_UNSENT = 2_000
"""About 1 MB. A burst that is larger loses its last notifications."""

Unsent = tuple[QueueKey, Notification]


@dataclass(slots=True, kw_only=True)
class SendNotifications:
    """Sends the notifications of this cycle, and the ones that earlier cycles of this process had no time for."""

    stacks: StacksApi
    clock: Clock
    telemetry: Telemetry
    _unsent: tuple[Unsent, ...] = field(default=(), init=False, repr=False)
    _held_until: timedelta | None = field(default=None, init=False)

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Returns the cycle unchanged."""
        self._unsent = self._kept((*self._unsent, *cycle.notifications), cycle.now)
        began = self.clock.monotonic()
        if self._held_until is not None and began < self._held_until:
            return cycle
        closed: set[QueueKey] = set()
        while self.clock.monotonic() - began < BUDGET:
            # A queue that cannot be asked yet waits for the next cycle, because asking at once again changes nothing.
            queue = next((key for key, _ in self._unsent if key not in closed), None)
            if queue is None:
                break
            first: dict[JobId, Notification] = {}
            for unsent in self._unsent:
                if unsent[0] == queue and len(first) < BATCH:
                    first.setdefault(unsent[1].job_id, unsent[1])
            failed = self._send(queue, list(first.values()))
            tried = {id(one) for job_id, one in first.items() if not isinstance(failed.get(job_id), NotAskedError)}
            self._unsent = tuple(unsent for unsent in self._unsent if id(unsent[1]) not in tried)
            if not tried:
                closed.add(queue)
            if any(isinstance(e, TransientError) and not isinstance(e, NotAskedError) for e in failed.values()):
                self._held_until = self.clock.monotonic() + HOLD_OFF
                break
        return cycle

    def _kept(self, unsent: Sequence[Unsent], now: datetime) -> tuple[Unsent, ...]:
        young = tuple(one for one in unsent if now - one[1].at < EXPIRES)
        if lost := len(unsent) - len(young[:MAX_UNSENT]):
            self.telemetry.warning("notifications_dropped", count=lost)
        return young[:MAX_UNSENT]

    def _send(self, queue: QueueKey, notifications: Sequence[Notification]) -> Mapping[JobId, AgentStackError]:
        """The jobs whose notification failed. A notification that fails does not affect the others."""
        failed = self.stacks.notify(queue, notifications)
        if told := len(notifications) - len(failed):
            self.telemetry.info("notifications_sent", queue=queue, count=told)
        for job_id, error in failed.items():
            if not isinstance(error, NotAskedError):
                self.telemetry.info("notification_failed", job_id=job_id, error=str(error))
        return failed
