"""In flight: launch requests to EC2 whose answer the dispatcher has not collected yet.

A request to EC2 takes seconds. It runs beside the cycles, so that the dispatcher goes on polling, and the first cycle
after the answer collects it. A launch in flight ends with its process; its intent stays in the ledger. Only `launch`
begins and collects launches; `recover` closes intents that are complete.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

from agent_stack.dispatcher.launch_permission import LaunchPermission
from agent_stack.domain.errors import AgentStackError, UnknownOutcomeError
from agent_stack.domain.identifiers import IntentId
from agent_stack.domain.launching import Intent, LaunchOutcome
from agent_stack.domain.measures import Metric
from agent_stack.ports import Clock, Fleet, Ledger, Task, Telemetry, Workers

Answer = tuple[Intent, LaunchOutcome | AgentStackError]

DRAIN_SECONDS = timedelta(seconds=8)
DRAIN_POLL = timedelta(milliseconds=100)


@dataclass(slots=True, kw_only=True)
class InFlightLaunches:
    """The in-flight launches of one process."""

    fleet: Fleet
    ledger: Ledger
    workers: Workers
    clock: Clock
    telemetry: Telemetry
    permission: LaunchPermission = field(default_factory=LaunchPermission)
    _tasks: dict[IntentId, tuple[Intent, Task[LaunchOutcome]]] = field(default_factory=dict, init=False)
    _writes: list[Task[None]] = field(default_factory=list, init=False)

    @property
    def intents(self) -> Sequence[Intent]:
        """Intents of the launches whose answer is not collected yet."""
        return tuple(intent for intent, _ in self._tasks.values())

    @property
    def is_answered(self) -> bool:
        """Whether there is an answer to collect."""
        return any(task.done() for _, task in self._tasks.values())

    def begin(self, intent: Intent) -> None:
        """Sends the request to EC2, beside the cycle. A pause stops it between two tries."""
        permitted = partial(self.permission.allows, intent.queues)
        task = self.workers.submit(partial(self.fleet.launch, intent.request, permitted=permitted))
        self._tasks[intent.intent_id] = (intent, task)

    def collect(self) -> list[Answer]:
        """The answers that arrived since the last call."""
        done = [(intent, task) for intent, task in self._tasks.values() if task.done()]
        answers: list[Answer] = []
        for intent, task in done:
            del self._tasks[intent.intent_id]
            try:
                answers.append((intent, task.result()))
            except AgentStackError as error:
                answers.append((intent, error))
        return answers

    def record(self, answers: Sequence[Answer]) -> None:
        """Records the answers in the ledger. Until then an intent is open, and the next dispatcher would replay it."""
        for intent, answer in answers:
            if isinstance(answer, LaunchOutcome):
                self._measure(answer)
                self.ledger.spend_intent(replace(intent, spent=True, vms=answer.vms))
            elif not isinstance(answer, UnknownOutcomeError):
                self.close(intent.intent_id)

    def close(self, intent_id: IntentId) -> None:
        """Closes an intent beside the cycle, because no step waits for it. After a failure the next cycle retries."""
        self.write_beside("intent_not_closed", partial(self.ledger.close_intent, intent_id))

    def write_beside(self, failure: str, write: Callable[[], None]) -> None:
        """Runs this write beside the cycle. A failure is logged with that message and has no other effect."""

        def perform() -> None:
            try:
                write()
            except AgentStackError as error:
                self.telemetry.warning(failure, error=str(error))

        self._writes = [task for task in self._writes if not task.done()]
        self._writes.append(self.workers.submit(perform))

    def drain(self) -> Iterator[timedelta]:
        """Records the remaining answers as they arrive, after another invocation has taken the lease.

        The next dispatcher leaves young intents to this process, and binds the VMs as soon as they are recorded. Yields
        how long to wait before the next check.
        """
        until = self.clock.now() + DRAIN_SECONDS
        while True:
            if self.is_answered:
                self.record(self.collect())
            self._writes = [task for task in self._writes if not task.done()]
            if not (self._tasks or self._writes) or self.clock.now() >= until:
                return
            yield DRAIN_POLL

    def _measure(self, outcome: LaunchOutcome) -> None:
        self.telemetry.count(Metric.VMS_LAUNCHED, len(outcome.vms))
        for error in outcome.errors:
            self.telemetry.count(Metric.LAUNCH_ERRORS, of=error.error_class)
