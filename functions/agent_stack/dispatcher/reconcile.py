"""Reconcile: runs the dispatcher's chain cycle after cycle, and passes facts of one cycle to the next."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce

from agent_stack.dispatcher.cycle import DispatcherCycle, DispatcherStep
from agent_stack.dispatcher.cycle_room import CycleRoom
from agent_stack.ports import Clock


@dataclass(slots=True, kw_only=True)
class ReconcileQueues:
    """The cycles of one process. Lambda and the simulation both run this.

    Attributes:
        warm_up: makes ready what the first launch needs. Runs once, after the first cycle without work, because a job
            would wait for it; in the function's own thread, because Lambda may freeze others after the invocation.
    """

    steps: Sequence[DispatcherStep]
    clock: Clock
    warm_up: Callable[[], None] = lambda: None
    _room: CycleRoom = field(default_factory=CycleRoom, init=False)
    _before: DispatcherCycle | None = field(default=None, init=False)
    _signalled: bool = field(default=False, init=False)
    _is_warm: bool = field(default=False, init=False)

    def begin(self, *, scheduled: bool) -> None:
        """Starts a new invocation. A wake-up usually means a waiting job, so its first cycle prefetches the VMs."""
        self._before = None
        self._signalled = not scheduled

    def __call__(self, now: datetime, fence: int) -> bool:
        """Runs one cycle at this time under this fencing number; True while there is work to do.

        Raises:
            AgentStackError: a step failed. The next cycle starts without facts of this one.
        """
        before, self._before = self._before, None
        known = before is not None and before.fence == fence
        cycle = DispatcherCycle(
            now=now,
            fence=fence,
            began=self.clock.monotonic(),
            room=self._room.jobs,
            expected_launches=before.wanted_launches if before is not None else int(self._signalled),
            paused_before=before.paused if before is not None and known else None,
            begun_before=before.begun if before is not None and known else None,
        )
        self._signalled = False
        self._before = reduce(lambda done, step: step(done), self.steps, cycle)
        self._room.learn(self._before, self.clock.monotonic())
        busy = self._before.busy
        if not busy and not self._is_warm:
            self._is_warm = True
            self.warm_up()
        return busy
