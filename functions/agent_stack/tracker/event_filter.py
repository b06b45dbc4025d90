"""News: whether an event is about anything of ours.

EventBridge tells of every instance of the account and every job of the organisation, and knows neither our tag nor our
queues. So a batch of events is held against the set of ids that this process knows: those of its last cycle, or of the
ledger when it has not looked for a while. Only a batch that mentions one of them goes on to the lease.

Events are hints. One about a VM that is younger than the set is passed over, which costs what it would have saved: up
to a minute, and nothing while a tracker is at work anyway, for that one looks each second.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.runs import Run
from agent_stack.ports import Clock, Ledger, Telemetry
from agent_stack.tracker.cycle import TrackerCycle

FRESH = timedelta(seconds=60)
"""How long a set with something in it will do: somebody is at work then, and looks each second without us."""

FRESH_WHEN_EMPTY = timedelta(seconds=15)
"""An empty one is read again sooner, for nobody is at work and a first VM is news; it costs eight empty queries."""


@dataclass(slots=True, kw_only=True)
class EventFilter:
    """What one process knows to be ours. Kept between invocations; lost with the process."""

    ledger: Ledger
    clock: Clock
    telemetry: Telemetry
    _ours: frozenset[str] = field(default=frozenset(), init=False, repr=False)
    _as_of: datetime | None = field(default=None, init=False, repr=False)

    def learn(self, cycle: TrackerCycle) -> None:
        """A cycle has looked at everything."""
        if cycle.described:
            self._know([s.run for s in cycle.situations], cycle.vms.keys())

    def mentions_ours(self, mentioned: Iterable[frozenset[str]]) -> bool:
        """Whether one of these events is, or may be, about something of ours.

        Args:
            mentioned: the ids in each; an event without any is nothing we know how to judge.
        """
        events = list(mentioned)
        named = frozenset[str]().union(*events)
        if not all(events) or named & self._ours:
            return True
        if not self._stale():
            return False
        try:
            self._know(self.ledger.active_runs(), ())
        except AgentStackError as error:
            self.telemetry.warning("news_not_judged", error=str(error))
            return True
        return bool(named & self._ours)

    def _stale(self) -> bool:
        fresh = FRESH if self._ours else FRESH_WHEN_EMPTY
        return self._as_of is None or self.clock.now() - self._as_of >= fresh

    def _know(self, runs: Iterable[Run], instance_ids: Iterable[str]) -> None:
        known: set[str] = set(instance_ids)
        for run in runs:
            known.add(run.job_id)
            if run.binding is not None:
                known.add(run.binding.instance_id)
        self._ours, self._as_of = frozenset(known), self.clock.now()
