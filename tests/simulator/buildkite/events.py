"""What happened, for whoever wants to watch: one small frozen object per event."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tests.simulator.buildkite.access_log import AccessRecord
from tests.simulator.buildkite.states import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStateChanged:
    """A job entered a state; `before` is None for a job that was just created."""

    at: datetime
    job_id: str
    label: str
    before: JobState | None
    after: JobState
    exit_status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationCreated:
    """A stack told the build page something about a job."""

    at: datetime
    job_id: str
    label: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRegistered:
    """An agent registered; `for_job_id` is set when it used a job acquisition token."""

    at: datetime
    agent_id: str
    name: str
    queue_key: str
    for_job_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDisconnected:
    """An agent said goodbye."""

    at: datetime
    agent_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLost:
    """An agent was silent for too long; `job_id` is the job that ended with it, if any."""

    at: datetime
    agent_id: str
    name: str
    job_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StackRegistered:
    """A stack registered or updated itself; `before` is the queue that it was taken from, if from another."""

    at: datetime
    stack_key: str
    queue_key: str
    new: bool
    before: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StackDeregistered:
    """A stack left."""

    at: datetime
    stack_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatusChanged:
    """A queue became Connected (a stack polls it) or Disconnected (nobody does any more)."""

    at: datetime
    queue_key: str
    connected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRefused:
    """A request was answered with an error; `record` says which and why."""

    at: datetime
    record: AccessRecord


Event = (
    JobStateChanged
    | NotificationCreated
    | AgentRegistered
    | AgentDisconnected
    | AgentLost
    | StackRegistered
    | StackDeregistered
    | QueueStatusChanged
    | RequestRefused
)
Watcher = Callable[[Event], None]


class EventBus:
    """Keeps events in order and hands them out outside the model's lock.

    Events are collected while the model is locked and delivered after, so a watcher may call the
    model, and a slow watcher holds up other watchers but no request's effect.
    """

    def __init__(self) -> None:
        self._pending: deque[Event] = deque()
        self._watchers: list[Watcher] = []
        self._delivering = threading.RLock()

    def publish(self, event: Event) -> None:
        """Queue an event; called with the model locked."""
        if self._watchers:
            self._pending.append(event)

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Hand every later event to `watcher`, until the function returned is called."""
        self._watchers.append(watcher)

        def stop() -> None:
            if watcher in self._watchers:
                self._watchers.remove(watcher)

        return stop

    def deliver(self) -> None:
        """Hand out what is queued; called with the model unlocked."""
        with self._delivering:
            while self._pending:
                event = self._pending.popleft()
                for watcher in tuple(self._watchers):
                    watcher(event)
