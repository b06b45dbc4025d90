"""Launches under way, and what earlier ones taught. Shared by the steps that count VMs, and by the one that launches.

A request to EC2 takes seconds, in which the queues go on being polled: it runs beside the ticks, and the first tick
after its answer collects it. What is under way dies with the process; its intent does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import IntentId
from agent_stack.domain.launching import Intent, LaunchOutcome
from agent_stack.ports import Fleet, Ledger, Task, Telemetry, Workers


@dataclass(slots=True, kw_only=True)
class Launches:
    """One process's launches."""

    fleet: Fleet
    ledger: Ledger
    workers: Workers
    telemetry: Telemetry
    _under_way: dict[IntentId, tuple[Intent, Task[LaunchOutcome]]] = field(default_factory=dict, init=False)
    _memory: tuple[int, LaunchMemory] | None = field(default=None, init=False)

    @property
    def under_way(self) -> Sequence[Intent]:
        """Launches whose answer is not collected yet."""
        return tuple(intent for intent, _ in self._under_way.values())

    def memory(self, fence: int) -> LaunchMemory:
        """What is known; read once under each lease, for nobody else writes it meanwhile."""
        if self._memory is None or self._memory[0] != fence:
            self._memory = (fence, self.ledger.launch_memory())
        return self._memory[1]

    def remember(self, memory: LaunchMemory, fence: int) -> None:
        """Keep what was learnt. That it cannot be written costs the next process a lesson, and no job anything."""
        self._memory = (fence, memory)
        try:
            self.ledger.remember_launches(memory)
        except AgentStackError as error:
            self.telemetry.warning("launch_memory_not_written", error=str(error))

    def begin(self, intent: Intent) -> None:
        """Ask EC2, beside the tick."""
        task = self.workers.submit(partial(self.fleet.launch, intent.request))
        self._under_way[intent.intent_id] = (intent, task)

    def collect(self) -> list[tuple[Intent, LaunchOutcome | AgentStackError]]:
        """What EC2 has answered meanwhile."""
        done = [(intent, task) for intent, task in self._under_way.values() if task.done()]
        answers: list[tuple[Intent, LaunchOutcome | AgentStackError]] = []
        for intent, task in done:
            del self._under_way[intent.intent_id]
            try:
                answers.append((intent, task.result()))
            except AgentStackError as error:
                answers.append((intent, error))
        return answers

    def wait(self, at_most: timedelta) -> None:
        """Until everything is answered, or that time is over."""
        self.workers.wait([task for _, task in self._under_way.values()], at_most)
