"""Capacity cache: what EC2's answers taught the dispatcher. Only `launch` writes it.

It is read again under each lease, because another process may have held one and written it. Where this process had the
lease before as well, it knows what is there.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from agent_stack.domain.capacity import LaunchMemory
from agent_stack.ports import Ledger


@dataclass(slots=True, kw_only=True)
class CapacityCache:
    """One process's copy of the ledger's launch memory.

    Attributes:
        write_beside: writes beside the cycle; takes the log message for a failure, and the write.
    """

    ledger: Ledger
    write_beside: Callable[[str, Callable[[], None]], None]
    _memory: tuple[int, LaunchMemory] | None = field(default=None, init=False)
    _learned: tuple[int, LaunchMemory] | None = field(default=None, init=False)
    """What is to be in the ledger: the latest of what this process learned, and under which lease."""
    _writing: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def under(self, fence: int) -> LaunchMemory:
        """The launch memory. Each lease has the number after that of the one before."""
        if self._memory is None or self._memory[0] not in {fence, fence - 1}:
            self._memory = (fence, self.ledger.launch_memory())
        self._memory = (fence, self._memory[1])
        return self._memory[1]

    @property
    def latest(self) -> LaunchMemory:
        """The copy of this process, possibly from an earlier lease. Reads nothing."""
        return LaunchMemory() if self._memory is None else self._memory[1]

    def learn(self, memory: LaunchMemory, fence: int) -> None:
        """Writes what was learned, beside the cycle, because no job depends on this write."""
        self._memory = self._learned = (fence, memory)
        self.write_beside("launch_memory_not_written", self._write)

    def _write(self) -> None:
        """Writes the latest, one write at a time. Threads may change places, and an older memory must not come last."""
        with self._writing:
            if self._learned is not None:
                fence, memory = self._learned
                self.ledger.remember_launches(memory, fence=fence)
