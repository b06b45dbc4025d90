"""Pauses: what an operator has stopped with `agent-stack pause`, and since when.

A pause belongs to the whole deployment or to one queue. It outlives deployments; only `agent-stack resume` ends it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from agent_stack.domain.identifiers import QueueKey

EVERYTHING = "*"
"""Stands for all queues. No queue key may contain it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorPause:
    """One pause.

    Attributes:
        by: who paused, as the command found out; empty when unknown.
        reason: the operator's own words; may be empty.
    """

    since: datetime
    by: str = ""
    reason: str = ""

    @property
    def words(self) -> str:
        """Since when, by whom and why, for a build page."""
        by = f" by {self.by}" if self.by else ""
        why = f": {self.reason}" if self.reason else ""
        return f"{self.since:%Y-%m-%d %H:%M} UTC{by}{why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """All pauses of a deployment.

    Attributes:
        paused: by queue key, or `EVERYTHING`.
        resumed: when a pause of that name ended last.
    """

    paused: Mapping[str, OperatorPause] = field(default_factory=dict)
    resumed: Mapping[str, datetime] = field(default_factory=dict)

    def of(self, queue: QueueKey) -> OperatorPause | None:
        """The pause that stops this queue; None when nothing does."""
        return self.paused.get(EVERYTHING) or self.paused.get(queue)

    def among(self, queues: Iterable[QueueKey]) -> Mapping[QueueKey, OperatorPause]:
        """Those of the queues that are paused, each with its pause."""
        return {queue: pause for queue in queues if (pause := self.of(queue)) is not None}

    def resumed_at(self, queue: QueueKey) -> datetime | None:
        """When launches for this queue were last allowed again; None when they were never paused."""
        return max((at for name in (EVERYTHING, queue) if (at := self.resumed.get(name)) is not None), default=None)
