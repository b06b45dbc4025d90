"""Event filter: drops events about VMs and jobs that this deployment does not manage.

EventBridge sends events about every instance of the account and every job of the organization, and cannot filter by our
tag or our queues. So the tracker compares a batch of events with the ids that this process knows from its last cycle,
or from the ledger when that was long ago. Only a batch that mentions a known id goes on to the lease.

Events are hints. The filter may drop an event about a new VM. Then the tracker acts up to a minute later, or without
delay while a tracker runs, because a running tracker checks every second.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.runs import Run
from agent_stack.ports import Clock, Ledger, Telemetry
from agent_stack.tracker.cycle import TrackerCycle

FRESH = timedelta(seconds=60)
"""How long a set with ids is valid. With active runs a tracker runs and checks every second, without any event."""

FRESH_WHEN_EMPTY = timedelta(seconds=15)
"""How long an empty set is valid. It is shorter, because no tracker runs and the event may be about the first VM. Each
read costs eight empty queries."""


@dataclass(slots=True, kw_only=True)
class EventFilter:
    """The ids that one process knows. Kept between invocations; lost with the process."""

    ledger: Ledger
    clock: Clock
    telemetry: Telemetry
    _known_ids: frozenset[str] = field(default=frozenset(), init=False, repr=False)
    _as_of: timedelta | None = field(default=None, init=False, repr=False)

    def learn(self, cycle: TrackerCycle) -> None:
        """Keeps the ids of a cycle that saw all VMs and runs."""
        if cycle.described:
            self._remember([s.run for s in cycle.situations], cycle.vms.keys())

    def mentions_ours(self, mentioned: Iterable[frozenset[str]]) -> bool:
        """Whether one of these events is, or may be, about a VM or job that this deployment manages.

        Args:
            mentioned: the ids in each event; an event without an id may be about anything and passes the filter.
        """
        events = list(mentioned)
        named = frozenset[str]().union(*events)
        if not all(events) or named & self._known_ids:
            return True
        if not self._is_stale():
            return False
        try:
            self._remember(self.ledger.active_runs(), ())
        except AgentStackError as error:
            self.telemetry.info("event_filter_failed", error=str(error))
            return True
        return bool(named & self._known_ids)

    def _is_stale(self) -> bool:
        fresh = FRESH if self._known_ids else FRESH_WHEN_EMPTY
        return self._as_of is None or self.clock.monotonic() - self._as_of >= fresh

    def _remember(self, runs: Iterable[Run], instance_ids: Iterable[str]) -> None:
        known: set[str] = set(instance_ids)
        for run in runs:
            known.add(run.job_id)
            if run.binding is not None:
                known.add(run.binding.instance_id)
        self._known_ids, self._as_of = frozenset(known), self.clock.monotonic()
