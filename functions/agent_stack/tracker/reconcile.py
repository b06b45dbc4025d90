"""Reconcile: runs the tracker's chain once for each cycle."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce

from agent_stack.ports import Clock
from agent_stack.tracker.cycle import TrackerCycle, TrackerStep
from agent_stack.tracker.event_filter import EventFilter


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileRuns:
    """The cycles of one process. Lambda and the simulation both run this."""

    steps: Sequence[TrackerStep]
    event_filter: EventFilter
    clock: Clock

    def __call__(self, now: datetime, fence: int) -> bool:
        """Runs one cycle at this time; True while a run is active or a VM is up."""
        begun = TrackerCycle(now=now, began=self.clock.monotonic(), fence=fence)
        cycle = reduce(lambda done, step: step(done), self.steps, begun)
        self.event_filter.learn(cycle)
        return cycle.busy
