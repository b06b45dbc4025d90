"""What a dispatcher that died left behind, and the one that finds it, for the tests of `recover`."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.empty_ledger import EmptyLedgerCache
from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.dispatcher.recover import UNANSWERED_GRACE, Recover
from agent_stack.dispatcher.vm_prefetch import VmPrefetch
from agent_stack.domain.identifiers import ClassName, QueueKey
from agent_stack.domain.launching import Intent
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.memory import Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import (
    SMALL,
    AtOnce,
    ByHand,
    FixedClasses,
    ScriptedFleet,
    WatchedLedger,
    a_book,
    a_capacity,
    a_vm_count,
    an_intent,
)
from tests.unit.values import a_policy, a_run

SECOND = timedelta(seconds=1)
QUEUE, OTHER = QueueKey("default"), QueueKey("other")
OLD_ENOUGH = EPOCH + UNANSWERED_GRACE
NOTHING_PAUSED: frozenset[QueueKey] = frozenset()


class Ward:
    """What an earlier dispatcher left at `EPOCH`, and the one that finds it."""

    def __init__(self, fleet: ScriptedFleet | None = None, *, by_hand: bool = False, **policy: object) -> None:
        self.store, self.journal = Store(), list[str]()
        self.ledger = WatchedLedger(store=self.store, journal=self.journal)
        self.fleet = fleet or ScriptedFleet()
        self.fleet.journal = self.journal
        self.workers = ByHand() if by_hand else AtOnce()
        self.telemetry = RecordedTelemetry()
        rules = a_policy(**policy)
        self.empty_ledger = EmptyLedgerCache()
        self.in_flight = InFlightLaunches(
            fleet=self.fleet,
            ledger=self.ledger,
            workers=self.workers,
            clock=VirtualClock(),
            telemetry=self.telemetry,
        )
        self.memory = WatchedLedger(store=Store())
        capacity = a_capacity(ledger=self.memory)
        self.recover = Recover(
            ledger=self.ledger,
            fleet=self.fleet,
            in_flight=self.in_flight,
            capacity=capacity,
            prefetch=VmPrefetch(
                fleet=self.fleet,
                workers=self.workers,
                capacity=capacity,
                count=a_vm_count(rules, self.memory, self.in_flight),
                policy=rules,
            ),
            empty_ledger=self.empty_ledger,
            classes=FixedClasses(classes=a_book()),
            policy=rules,
            telemetry=self.telemetry,
        )
        self.recover._lease = (1, EPOCH)  # it has the lease since then

    @property
    def read_ahead(self) -> list[str]:
        """What was read of the launch memory and of the count of VMs."""
        return self.memory.journal

    def left(self, number: int = 1, **changes: Any) -> Intent:  # noqa: ANN401  (an intent's own fields)
        """An intent in the ledger, by default one without an answer."""
        intent = an_intent(number, **changes)
        self.store.intents[intent.intent_id] = intent
        return intent

    def waits(self, number: int = 1, queue: QueueKey = QUEUE, class_name: ClassName = SMALL) -> None:
        """A run that wants a VM."""
        self.ledger.record([replace(a_run(number, class_name=class_name), queue_key=queue)])

    def cycle(self, **found: Any) -> DispatcherCycle:  # noqa: ANN401  (the cycle's own fields)
        self.journal.clear()
        return self.recover(
            DispatcherCycle(**{"now": OLD_ENOUGH, "fence": 1, "paused_before": NOTHING_PAUSED, **found})
        )

    def take_answers(self) -> None:
        """What `launch` does with the answers of replays, later in the cycle that collects them."""
        self.in_flight.record(self.in_flight.collect())
