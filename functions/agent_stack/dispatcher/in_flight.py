"""In flight: launch requests to EC2 whose answer the dispatcher has not collected yet.

A request to EC2 takes seconds. It runs beside the cycles, so that the dispatcher goes on polling, and the first cycle
after the answer collects it. A launch in flight ends with its process; its intent stays in the ledger. Only `launch`
begins and collects launches; `recover` closes intents that are complete.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from agent_stack.dispatcher.launch_permission import LaunchPermission
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.errors import AgentStackError, UnknownOutcomeError
from agent_stack.domain.identifiers import IntentId
from agent_stack.domain.launching import Intent, LaunchOutcome
from agent_stack.domain.measures import Metric
from agent_stack.ports import Clock, Fleet, Ledger, Task, Telemetry, Workers

Answer = tuple[Intent, LaunchOutcome | AgentStackError]

SETTLE_FIRST = timedelta(seconds=2)
SETTLE_LAST = timedelta(seconds=60)
"""A launch without an answer is asked about again after two seconds, then after twice as long each time."""

DRAIN_SECONDS = timedelta(seconds=8)
DRAIN_POLL = timedelta(milliseconds=100)
DRAIN_RETRY = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsettled:
    """A launch without a certain outcome.

    Attributes:
        looks: how often it was asked about.
        next_at: when it is asked about again.
        look_at: when EC2's list is read for it again, where that comes later than `next_at`.
        answered: EC2 has answered a replay without naming VMs; only its list of VMs can tell.
    """

    looks: int
    next_at: datetime
    look_at: datetime | None = None
    answered: bool = False


def _pause(looks: int) -> timedelta:
    """Longer each time."""
    doublings: int = min(looks, 10) - 1
    return min(SETTLE_LAST, SETTLE_FIRST * (1 << doublings))


@dataclass(slots=True, kw_only=True)
class InFlightLaunches:
    """The in-flight launches of one process, and those that it could not settle yet."""

    fleet: Fleet
    ledger: Ledger
    workers: Workers
    clock: Clock
    telemetry: Telemetry
    permission: LaunchPermission = field(default_factory=LaunchPermission)
    vms_sent: int = field(default=0, init=False)
    """VMs that this process asked for, or meant to."""
    vms_in_doubt: int = field(default=0, init=False)
    """Those of them whose intent the ledger may not have: its write was refused, or was not answered."""
    _tasks: dict[IntentId, tuple[Intent, Task[LaunchOutcome]]] = field(default_factory=dict, init=False)
    _writes: list[Task[None]] = field(default_factory=list, init=False)
    _replays: set[IntentId] = field(default_factory=set, init=False)
    _unsettled: dict[IntentId, Unsettled] = field(default_factory=dict, init=False)
    _asked: dict[IntentId, datetime] = field(default_factory=dict, init=False)
    """When the latest request for an open intent was answered, or known to have none."""
    _outcomes: dict[IntentId, Intent] = field(default_factory=dict, init=False)
    """Outcomes that this process knows and the ledger may not, because a write failed; without VMs if EC2 refused."""

    @property
    def intents(self) -> Sequence[Intent]:
        """Intents of the launches whose answer is not collected yet."""
        return tuple(intent for intent, _ in self._tasks.values())

    def of_failing_classes(self, memory: LaunchMemory) -> int:
        """How many of them are of classes in which nothing works."""
        kinds = [(intent.class_name, intent.capacity_type) for intent in self.intents]
        backoffs = [memory.backoff(name, kind) for name, kind in kinds if kind is not None]
        return sum(backoff is not None and backoff.failures > 0 for backoff in backoffs)

    @property
    def is_answered(self) -> bool:
        """Whether there is an answer to collect."""
        return any(task.done() for _, task in self._tasks.values())

    @property
    def answered_vms(self) -> int:
        """How many VMs the launches asked for that EC2 has answered, and whose answer is not collected yet."""
        return sum(intent.count for intent, task in self._tasks.values() if task.done())

    def is_replay(self, intent_id: IntentId) -> bool:
        """Whether its latest request was sent again, to learn what came of the first one."""
        return intent_id in self._replays

    def unsettled(self, intent_id: IntentId) -> Unsettled | None:
        """What this process knows of a launch without a certain outcome."""
        return self._unsettled.get(intent_id)

    def asked(self, intent_id: IntentId) -> datetime | None:
        """When this process's latest request may still have launched VMs; None when it sent none."""
        return self._asked.get(intent_id)

    def settle_later(self, intent_id: IntentId, *, answered: bool = False) -> None:
        """Nothing certain is known of it; it is asked about again, later each time."""
        before = self._unsettled.get(intent_id)
        looks = before.looks + 1 if before else 1
        known = answered or (before is not None and before.answered)
        self._unsettled[intent_id] = Unsettled(looks=looks, next_at=self.clock.now() + _pause(looks), answered=known)

    def look_later(self, intent_id: IntentId) -> None:
        """EC2's list shows too few of its VMs, and it may not be sent again now: the list is read later each time."""
        before = self._unsettled[intent_id]
        looks = before.looks + 1
        self._unsettled[intent_id] = replace(before, looks=looks, look_at=self.clock.now() + _pause(looks))

    def settled(self, intent_id: IntentId) -> None:
        """What came of it is known."""
        self._unsettled.pop(intent_id, None)
        self._asked.pop(intent_id, None)
        self._replays.discard(intent_id)

    def counts(self, intent: Intent) -> None:
        """An intent is about to be written. From then on its VMs may start, by this process or another."""
        self.vms_sent += intent.count
        self.vms_in_doubt += intent.count

    def is_written(self, intent: Intent) -> None:
        """The ledger has it."""
        self.vms_in_doubt -= intent.count

    def replay(self, intent: Intent) -> None:
        """Send the same request again, beside the cycle: EC2 gives one answer to one client token."""
        self._replays.add(intent.intent_id)
        self.begin(intent)

    def begin(self, intent: Intent) -> None:
        """Sends the request to EC2, beside the cycle. A pause stops it between two tries."""
        permitted = partial(self.permission.allows, intent.queues)
        task = self.workers.submit(partial(self.fleet.launch, intent.request, permitted=permitted))
        self._tasks[intent.intent_id] = (intent, task)

    def collect(self, vms: int | None = None) -> list[Answer]:
        """The answers that arrived since the last call.

        Args:
            vms: how many VMs they are to be about; the last one may be about more. None for all.
        """
        done = [(intent, task) for intent, task in self._tasks.values() if task.done()]
        answers: list[Answer] = []
        left = vms
        for intent, task in done:
            if left is not None:
                if answers and left <= 0:
                    break
                left -= intent.count
            del self._tasks[intent.intent_id]
            self._asked[intent.intent_id] = self.clock.now()
            try:
                answers.append((intent, task.result()))
            except AgentStackError as error:
                answers.append((intent, error))
        return answers

    def record(self, answers: Sequence[Answer]) -> None:
        """Records the answers in the ledger. Until then an intent is open, and the next dispatcher would replay it.

        An answer whose write fails is kept, see `outcome_of`; the others are recorded.
        """
        for intent, answer in answers:
            replayed = self.is_replay(intent.intent_id)
            if isinstance(answer, LaunchOutcome):
                self._measure(answer)
                if replayed and not answer.vms:
                    self.settle_later(intent.intent_id, answered=True)
                    continue
                self._spend(replace(intent, spent=True, vms=answer.vms))
                if replayed:
                    self.telemetry.info("intent_settled", intent_id=intent.intent_id, count=len(answer.vms))
                self.settled(intent.intent_id)
            elif replayed or isinstance(answer, UnknownOutcomeError):
                self.settle_later(intent.intent_id)
            else:
                self._outcomes[intent.intent_id] = replace(intent, spent=True, vms=())
                self.close(intent.intent_id)

    def outcome_of(self, intent_id: IntentId) -> Intent | None:
        """The outcome of an intent that the ledger shows as open; None if unknown. Tries to record it again."""
        outcome = self._outcomes.get(intent_id)
        if outcome is not None and outcome.vms:
            self._spend(outcome)
        return outcome

    def forget_others(self, open_intents: Iterable[Intent]) -> None:
        """Forgets the outcomes of intents that are no longer open, and when they were asked for."""
        still_open = {intent.intent_id for intent in open_intents}
        for known in (self._outcomes, self._asked):
            for intent_id in known.keys() - still_open:
                known.pop(intent_id, None)

    def close(self, intent_id: IntentId) -> None:
        """Closes an intent beside the cycle, because no step waits for it. After a failure the next cycle retries."""

        def close() -> None:
            self.ledger.close_intent(intent_id)
            self._outcomes.pop(intent_id, None)

        self.write_beside("intent_not_closed", close)

    def _spend(self, outcome: Intent) -> None:
        self._outcomes[outcome.intent_id] = outcome
        try:
            self.ledger.spend_intent(outcome)
        except AgentStackError as error:
            self.telemetry.info("launch_not_recorded", intent_id=outcome.intent_id, error=str(error))
        else:
            self._outcomes.pop(outcome.intent_id, None)

    def write_beside(self, failure: str, write: Callable[[], None]) -> None:
        """Runs this write beside the cycle. A failure is logged with that message and has no other effect."""

        def perform() -> None:
            try:
                write()
            except AgentStackError as error:
                self.telemetry.info(failure, error=str(error))

        self._writes = [task for task in self._writes if not task.done()]
        self._writes.append(self.workers.submit(perform))

    def drain(self) -> Iterator[timedelta]:
        """Records the remaining answers as they arrive, after another invocation has taken the lease.

        The next dispatcher leaves young intents to this process, and binds the VMs as soon as they are recorded. Yields
        how long to wait before the next check.
        """
        now = self.clock.monotonic()
        until, retry_at = now + DRAIN_SECONDS, now + DRAIN_RETRY
        while True:
            if self.is_answered:
                self.record(self.collect())
            self._writes = [task for task in self._writes if not task.done()]
            if self._outcomes and self.clock.monotonic() >= retry_at:
                retry_at = self.clock.monotonic() + DRAIN_RETRY
                for outcome in tuple(self._outcomes.values()):
                    self._spend(outcome)
            if not (self._tasks or self._writes or self._outcomes) or self.clock.monotonic() >= until:
                return
            yield DRAIN_POLL

    def _measure(self, outcome: LaunchOutcome) -> None:
        self.telemetry.count(Metric.VMS_LAUNCHED, len(outcome.vms))
        for error in outcome.errors:
            self.telemetry.count(Metric.LAUNCH_ERRORS, of=error.error_class)
