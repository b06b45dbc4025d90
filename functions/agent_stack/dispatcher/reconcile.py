"""Runs the dispatcher's chain cycle after cycle, and passes on what one cycle leaves for the next."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce

from agent_stack.dispatcher.cycle import DispatcherCycle, DispatcherStep


@dataclass(slots=True, kw_only=True)
class ReconcileQueues:
    """One process's cycles. Lambda and the simulation both run this."""

    steps: Sequence[DispatcherStep]
    _before: DispatcherCycle | None = field(default=None, init=False)
    _signalled: bool = field(default=False, init=False)

    def begin(self, *, scheduled: bool) -> None:
        """A new invocation. One that was woken most likely has a job waiting, so it prefetches the VMs at once."""
        self._before = None
        self._signalled = not scheduled

    def __call__(self, now: datetime, fence: int) -> bool:
        """One cycle at that time under that fencing number; True while there is work in hand.

        Raises:
            AgentStackError: a step failed. The next cycle then starts from no knowledge of this one.
        """
        before, self._before = self._before, None
        known = before is not None and before.fence == fence
        cycle = DispatcherCycle(
            now=now,
            fence=fence,
            expected_launches=before.wanted_launches if before is not None else int(self._signalled),
            paused_before=before.paused if before is not None and known else None,
        )
        self._signalled = False
        self._before = reduce(lambda done, step: step(done), self.steps, cycle)
        return self._before.busy
