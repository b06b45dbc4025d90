"""Launch permission: whether the operator lets VMs start now.

The lease loop reads the pauses with each renewal of the lease, so an idle cycle reads nothing more. That knowledge is
up to five seconds old. Directly before an effect that starts something, the dispatcher reads the pauses again when they
are older than `MAX_AGE`; so a pause takes effect within five seconds, also between two tries of one request.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import QueueKey
from agent_stack.domain.pauses import OperatorPause, Pauses
from agent_stack.ports import Clock

MAX_AGE = timedelta(seconds=2)
"""Five seconds are promised; the rest is for the read, and for a request that is on its way."""

MAX_AGE_UNREADABLE = timedelta(seconds=4)
"""How long the last knowledge holds while the ledger does not answer, or answers late. After it nothing starts: the
operator may have paused meanwhile, and without its ledger the dispatcher could not go on anyway."""


@dataclass(slots=True, kw_only=True)
class LaunchPermission:
    """What one process knows of the pauses. Worker threads ask it, too.

    Attributes:
        read: reads the pauses; None where nothing can be paused.
    """

    read: Callable[[], Pauses] | None = None
    clock: Clock | None = None
    _known: tuple[timedelta, Pauses] | None = field(default=None, init=False)
    """One tuple, replaced as a whole, because threads read it without a lock."""

    def observe(self, pauses: Pauses, at: timedelta) -> None:
        """The lease loop asked for the pauses at that time, by the monotonic clock, and these are they."""
        if self._known is None or self._known[0] <= at:
            self._known = (at, pauses)

    @property
    def pauses(self) -> Pauses:
        """The latest known pauses. Reads nothing."""
        return Pauses() if self._known is None else self._known[1]

    def allows(self, queues: Iterable[QueueKey]) -> bool:
        """Whether a launch for these queues may be sent now. One paused queue stops a launch for several."""
        return not self.stopped(queues)

    def stopped(self, queues: Iterable[QueueKey]) -> Mapping[QueueKey, OperatorPause | None]:
        """Those of the queues that may start nothing now. Reads the pauses when they are too old.

        Returns:
            the queues with their pauses; with None when the pauses cannot be read in time.
        """
        fresh = self._fresh()
        return dict.fromkeys(queues) if fresh is None else fresh.among(queues)

    def _fresh(self) -> Pauses | None:
        if self.read is None or self.clock is None:
            return self.pauses
        asked, known = self.clock.monotonic(), self._known
        if known is not None and asked - known[0] < MAX_AGE:
            return known[1]
        with suppress(AgentStackError):
            self.observe(self.read(), asked)
        known = self._known  # as old as its question, however long the answer took
        return known[1] if known is not None and self.clock.monotonic() - known[0] < MAX_AGE_UNREADABLE else None
