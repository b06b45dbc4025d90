"""The boot program's second stages in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from agent_stack.domain.programs import PublishedProgram, VmProgram
from agent_stack.ports import Clock


@dataclass(slots=True, kw_only=True)
class MemoryPrograms:
    """See the port `Programs`."""

    clock: Clock
    superseded: dict[str, datetime | None] = field(default_factory=dict)

    def publish(self, program: VmProgram) -> None:
        """See the port."""
        for sha256, at in self.superseded.items():
            self.superseded[sha256] = at or self.clock.now()
        self.superseded[program.sha256] = None

    def published(self) -> Sequence[PublishedProgram]:
        """See the port."""
        return [PublishedProgram(sha256=sha256, superseded_at=at) for sha256, at in self.superseded.items()]

    def remove(self, sha256: str) -> None:
        """See the port."""
        self.superseded.pop(sha256, None)
