"""Launches under way, and what earlier ones taught. Shared by the steps that count VMs, and by the one that launches.

A request to EC2 takes seconds, in which the queues go on being polled: it runs beside the ticks, and the first tick
after its answer collects it. What is under way dies with the process; its intent does not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.errors import AgentStackError, RetryError, UnknownOutcomeError
from agent_stack.domain.identifiers import IntentId, QueueKey
from agent_stack.domain.launching import Intent, LaunchOutcome
from agent_stack.domain.measures import Metric
from agent_stack.domain.policy import Policy
from agent_stack.domain.vms import Vm
from agent_stack.ports import Fleet, Ledger, Task, Telemetry, Workers

Answer = tuple[Intent, LaunchOutcome | AgentStackError]

LOOK_SECONDS = timedelta(seconds=5)
DRAIN_SECONDS = timedelta(seconds=8)


@dataclass(slots=True, kw_only=True)
class Launches:
    """One process's launches."""

    fleet: Fleet
    ledger: Ledger
    workers: Workers
    policy: Policy
    telemetry: Telemetry
    _under_way: dict[IntentId, tuple[Intent, Task[LaunchOutcome]]] = field(default_factory=dict, init=False)
    _memory: tuple[int, LaunchMemory] | None = field(default=None, init=False)
    _look: Task[Sequence[Vm]] | None = field(default=None, init=False)
    _beside: list[Task[None]] = field(default_factory=list, init=False)
    _paused: tuple[int, frozenset[QueueKey]] | None = field(default=None, init=False)
    wanted: int = field(default=0, init=False)
    """How many VMs the tick before would have asked for; this one will want some, too."""

    @property
    def under_way(self) -> Sequence[Intent]:
        """Launches whose answer is not collected yet."""
        return tuple(intent for intent, _ in self._under_way.values())

    @property
    def answered(self) -> bool:
        """Whether there is something to collect."""
        return any(task.done() for _, task in self._under_way.values())

    def polled(self, paused: frozenset[QueueKey], fence: int) -> None:
        """The queues were looked at under that lease, and these are paused."""
        self._paused = (fence, paused)

    def paused(self, fence: int) -> frozenset[QueueKey] | None:
        """Queues that were paused at the last look under that lease; None before the first."""
        return self._paused[1] if self._paused is not None and self._paused[0] == fence else None

    def memory(self, fence: int) -> LaunchMemory:
        """What is known; read once under each lease, for nobody else writes it meanwhile."""
        if self._memory is None or self._memory[0] != fence:
            self._memory = (fence, self.ledger.launch_memory())
        return self._memory[1]

    @property
    def known(self) -> LaunchMemory:
        """What this process knows, which may be of an earlier lease. Nothing is read for it."""
        return LaunchMemory() if self._memory is None else self._memory[1]

    def remember(self, memory: LaunchMemory, fence: int) -> None:
        """Keep what was learnt, beside the tick: a lesson that is not written costs no job anything."""
        self._memory = (fence, memory)
        self._aside("launch_memory_not_written", partial(self.ledger.remember_launches, memory))

    def look(self, wanted: int, fence: int, now: datetime) -> None:
        """Begin to ask EC2 what is up, unless that has begun: it takes as long as reserving, and goes on beside it.

        Only when so many VMs would be asked for now: to look at thousands of VMs takes several requests.
        """
        if self._look is None and wanted and self.memory(fence).worth_asking(wanted, self.policy.instance_budget, now):
            self._look = self.workers.submit(self.fleet.describe)

    def forget_look(self) -> None:
        """What was seen in this tick is not what is up in the next."""
        self._look = None

    def seen(self) -> Sequence[Vm]:
        """What EC2 says is up, of a look that began in this tick.

        Raises:
            AgentStackError: it does not say.
        """
        look = self._look
        if look is None:
            return self.fleet.describe()
        self.workers.wait([look], LOOK_SECONDS)
        if not look.done():
            raise RetryError(f"DescribeInstances: no answer within {LOOK_SECONDS.total_seconds():.0f} s")
        return look.result()

    def close(self, intent_id: IntentId) -> None:
        """Close an intent beside the tick: nobody waits for that, and the next tick would do it again."""
        self._aside("intent_not_closed", partial(self.ledger.close_intent, intent_id))

    def begin(self, intent: Intent) -> None:
        """Ask EC2, beside the tick."""
        task = self.workers.submit(partial(self.fleet.launch, intent.request))
        self._under_way[intent.intent_id] = (intent, task)

    def collect(self) -> list[Answer]:
        """What EC2 has answered meanwhile."""
        done = [(intent, task) for intent, task in self._under_way.values() if task.done()]
        answers: list[Answer] = []
        for intent, task in done:
            del self._under_way[intent.intent_id]
            try:
                answers.append((intent, task.result()))
            except AgentStackError as error:
                answers.append((intent, error))
        return answers

    def record(self, answers: Sequence[Answer]) -> None:
        """Write down what came of launches. Until then an intent is open, and somebody would ask for it again."""
        for intent, answer in answers:
            if isinstance(answer, LaunchOutcome):
                self._measure(answer)
                self.ledger.spend_intent(replace(intent, spent=True, vms=answer.vms))
            elif not isinstance(answer, UnknownOutcomeError):
                self.close(intent.intent_id)

    def _measure(self, outcome: LaunchOutcome) -> None:
        self.telemetry.count(Metric.VMS_LAUNCHED, len(outcome.vms))
        for error in outcome.errors:
            self.telemetry.count(Metric.LAUNCH_ERRORS, of=error.error_class)

    def drain(self) -> None:
        """Wait for what is under way and write it down, when the lease is another's already.

        The next dispatcher leaves young intents to us, and binds the VMs as soon as they are written down.
        """
        if self._under_way:
            self.workers.wait([task for _, task in self._under_way.values()], DRAIN_SECONDS)
            self.record(self.collect())
        self.workers.wait(self._beside, DRAIN_SECONDS)

    def _aside(self, failure: str, write: Callable[[], None]) -> None:
        """Do that beside the tick; its failure is said, and costs nothing."""

        def perform() -> None:
            try:
                write()
            except AgentStackError as error:
                self.telemetry.warning(failure, error=str(error))

        self._beside = [task for task in self._beside if not task.done()]
        self._beside.append(self.workers.submit(perform))
