"""A dispatcher's launch with all its parts, for its tests."""

from datetime import timedelta
from typing import Any

from agent_stack.dispatcher.capacity_cache import CapacityCache
from agent_stack.dispatcher.class_room import ClassRoom
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.dispatcher.launch import Launch
from agent_stack.dispatcher.launch_answers import LaunchAnswers
from agent_stack.dispatcher.launch_deadline import LaunchDeadline
from agent_stack.dispatcher.launch_orders import LaunchOrders
from agent_stack.dispatcher.launch_room import LaunchRoom
from agent_stack.dispatcher.send_launch import SendLaunch
from agent_stack.dispatcher.token_supply import TokenSupply
from agent_stack.dispatcher.vcpu_room import VcpuRoom
from agent_stack.dispatcher.vm_prefetch import VmPrefetch
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.runs import Run
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.identity import SeededIds
from tests.simulator.memory import MemoryLease, Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import (
    SMALL,
    ByHand,
    ScriptedFleet,
    WatchedLedger,
    a_book,
    a_published_program,
    a_quota_watch,
    a_standby_pool,
    a_vcpu_cache,
    a_vm_count,
)
from tests.unit.values import a_policy, a_run

SECOND = timedelta(seconds=1)


class Room:
    """A dispatcher that holds the lease, and an EC2 whose answers come when a test says so."""

    def __init__(
        self, fleet: ScriptedFleet | None = None, memory: LaunchMemory | None = None, **policy: object
    ) -> None:
        self.store = Store()
        self.journal: list[str] = []
        self.ledger = WatchedLedger(store=self.store, journal=self.journal)
        self.store.launching = memory or LaunchMemory()
        self.lease = MemoryLease(store=self.store, function="dispatcher")
        held = self.lease.acquire("us", now=EPOCH, ttl=SECOND)
        assert held is not None
        self.fence = held.fence
        self.fleet = fleet or ScriptedFleet()
        self.fleet.journal = self.journal
        self.workers, self.clock, self.telemetry = ByHand(), VirtualClock(), RecordedTelemetry()
        self.tokens, self.book = TokenSupply(), a_book()
        rules, ids = a_policy(**policy), SeededIds()
        self.in_flight = InFlightLaunches(
            fleet=self.fleet, ledger=self.ledger, workers=self.workers, clock=self.clock, telemetry=self.telemetry
        )
        capacity = CapacityCache(ledger=self.ledger, write_beside=lambda _, write: write())
        count = a_vm_count(rules, self.ledger, self.in_flight)
        prefetch = VmPrefetch(fleet=self.fleet, workers=self.workers, capacity=capacity, count=count, policy=rules)
        vcpus, self.pool = a_vcpu_cache(), a_standby_pool(self.store, self.fleet)
        self.launch = Launch(
            send=SendLaunch(fleet=self.fleet, ledger=self.ledger, in_flight=self.in_flight, telemetry=self.telemetry),
            vcpu_room=VcpuRoom(vcpus=vcpus, pool=self.pool, in_flight=self.in_flight, policy=rules),
            class_room=ClassRoom(pool=self.pool, in_flight=self.in_flight),
            in_flight=self.in_flight,
            capacity=capacity,
            orders=LaunchOrders(fleet=self.fleet, ids=ids, telemetry=self.telemetry),
            room=LaunchRoom(in_flight=self.in_flight, prefetch=prefetch, policy=rules, telemetry=self.telemetry),
            answers=LaunchAnswers(
                fleet=self.fleet, in_flight=self.in_flight, vcpus=vcpus, ids=ids, telemetry=self.telemetry
            ),
            deadline=LaunchDeadline(ledger=self.ledger, vcpus=vcpus, policy=rules, telemetry=self.telemetry),
            quotas=a_quota_watch(vcpus),
            vcpus=vcpus,
            program=a_published_program(self.ledger, self.clock, rules, RecordedTelemetry()),
            tokens=self.tokens,
            policy=rules,
            telemetry=self.telemetry,
        )

    def ready(self, count: int, *, first: int = 1, class_name: ClassName = SMALL) -> tuple[Run, ...]:
        return tuple(a_run(number, class_name=class_name) for number in range(first, first + count))

    def cycle(self, *ready: Run, **found: Any) -> DispatcherCycle:  # noqa: ANN401  (the cycle's own fields)
        values = {"now": self.clock.now(), "fence": self.fence, "book": self.book, "ready": ready, **found}
        return self.launch(DispatcherCycle(**values))

    def asked(self) -> list[tuple[str, int]]:
        """What EC2 was asked for, by class, sent or still with the workers."""
        return [(intent.class_name, intent.count) for intent in self.in_flight.intents]
