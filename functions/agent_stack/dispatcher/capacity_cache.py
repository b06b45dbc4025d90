"""What EC2 taught the dispatcher, read once under each lease. Only `launch` writes it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from agent_stack.domain.capacity import LaunchMemory
from agent_stack.ports import Ledger


@dataclass(slots=True, kw_only=True)
class CapacityCache:
    """One process's copy of the ledger's record of it.

    Attributes:
        write_beside: writes beside the cycle; takes the log message of a failure, and the write.
    """

    ledger: Ledger
    write_beside: Callable[[str, Callable[[], None]], None]
    _memory: tuple[int, LaunchMemory] | None = field(default=None, init=False)

    def under(self, fence: int) -> LaunchMemory:
        """What is known; read once under each lease, because no other process writes it meanwhile."""
        if self._memory is None or self._memory[0] != fence:
            self._memory = (fence, self.ledger.launch_memory())
        return self._memory[1]

    @property
    def latest(self) -> LaunchMemory:
        """What this process knows, which may be of an earlier lease. Nothing is read."""
        return LaunchMemory() if self._memory is None else self._memory[1]

    def learn(self, memory: LaunchMemory, fence: int) -> None:
        """Keep what was learnt, beside the cycle: a lesson that is not written costs no job anything."""
        self._memory = (fence, memory)
        self.write_beside("launch_memory_not_written", partial(self.ledger.remember_launches, memory, fence=fence))
