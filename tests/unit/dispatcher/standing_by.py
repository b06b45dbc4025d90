"""A dispatcher whose class keeps VMs standing by, with all its parts, and an EC2 whose VMs a test changes."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from agent_stack.dispatcher.capacity_cache import CapacityCache
from agent_stack.dispatcher.class_room import ClassRoom
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.empty_ledger import EmptyLedgerCache
from agent_stack.dispatcher.find_standby import FindStandby
from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.dispatcher.launch_orders import LaunchOrders
from agent_stack.dispatcher.launch_room import LaunchRoom
from agent_stack.dispatcher.preempt import Preempt
from agent_stack.dispatcher.replenish import Replenish
from agent_stack.dispatcher.send_launch import SendLaunch
from agent_stack.dispatcher.standby_pool import StandbyPool
from agent_stack.dispatcher.standby_room import StandbyRoom
from agent_stack.dispatcher.standby_troubles import StandbyTroubles
from agent_stack.dispatcher.vcpu_room import VcpuRoom
from agent_stack.dispatcher.vm_prefetch import VmPrefetch
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import VmClass
from agent_stack.domain.identifiers import ClassName, QueueKey, StackKey
from agent_stack.domain.jobs import Queue
from agent_stack.domain.standby import StandbyVm
from agent_stack.domain.standby_schedule import Standby
from agent_stack.domain.states import VmState
from agent_stack.ports import Workers
from tests.simulator.clock import EPOCH, VirtualClock
from tests.simulator.identity import SeededIds
from tests.simulator.memory import MemoryLease, MemoryStandbyVms, Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.dispatcher.parts import (
    LARGE,
    SMALL,
    AtOnce,
    ByHand,
    ScriptedFleet,
    WatchedLedger,
    a_book,
    a_class,
    a_published_program,
    a_quota_watch,
    a_vcpu_cache,
    a_vm_count,
)
from tests.unit.values import a_policy, a_vm

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
HOLD = 4 * HOUR
QUEUE = QueueKey("default")


def hot(count: int = 2, **changes: Any) -> VmClass:  # noqa: ANN401  (a class's own fields)
    """The small class with that many standby VMs."""
    return a_class(SMALL, standby=Standby(hot=count, max_age=HOLD), **changes)


class StandingBy:
    """One dispatcher process under one lease. Looks at the list are done at once, unless a test has other workers."""

    def __init__(
        self,
        small: VmClass | None = None,
        *,
        workers: Workers | None = None,
        memory: LaunchMemory | None = None,
        **policy: object,
    ) -> None:
        self.store, self.fleet, self.telemetry = Store(), ScriptedFleet(), RecordedTelemetry()
        self.store.launching = memory or LaunchMemory()
        self.ledger, self.clock, ids = WatchedLedger(store=self.store), VirtualClock(), SeededIds()
        self.records = MemoryStandbyVms(store=self.store)
        self.book = a_book(small or hot(), a_class(LARGE, instance_types=("m7i.4xlarge",)))
        held = MemoryLease(store=self.store, function="dispatcher").acquire("us", now=EPOCH, ttl=SECOND)
        assert held is not None
        self.fence = held.fence
        rules, said = a_policy(**policy), self.telemetry
        self.pool = StandbyPool(
            fleet=self.fleet,
            records=self.records,
            workers=workers or AtOnce(),
            telemetry=said,
            write_beside=lambda _, write: write(),
            max_vcpus=rules.max_vcpus,
        )
        self.in_flight = InFlightLaunches(
            fleet=self.fleet, ledger=self.ledger, workers=ByHand(), clock=self.clock, telemetry=said
        )
        capacity = CapacityCache(ledger=self.ledger, write_beside=lambda _, write: write())
        count = a_vm_count(rules, self.ledger, self.in_flight)
        prefetch = VmPrefetch(fleet=self.fleet, workers=AtOnce(), capacity=capacity, count=count, policy=rules)
        vcpus = a_vcpu_cache()
        quotas = a_quota_watch(vcpus)
        room = LaunchRoom(in_flight=self.in_flight, prefetch=prefetch, policy=rules, telemetry=said)
        vcpu_room = VcpuRoom(vcpus=vcpus, pool=self.pool, in_flight=self.in_flight, policy=rules)
        class_room = ClassRoom(pool=self.pool, in_flight=self.in_flight)
        orders = LaunchOrders(fleet=self.fleet, ids=ids, telemetry=said)
        self.find = FindStandby(pool=self.pool, fleet=self.fleet)
        self.preempt = Preempt(
            pool=self.pool,
            room=room,
            vcpu_room=vcpu_room,
            class_room=class_room,
            quotas=quotas,
            capacity=capacity,
            orders=orders,
            policy=rules,
            telemetry=said,
        )
        self.replenish = Replenish(
            pool=self.pool,
            troubles=StandbyTroubles(pool=self.pool, capacity=capacity, policy=rules, telemetry=said),
            room=StandbyRoom(
                room=room,
                vcpu_room=vcpu_room,
                class_room=class_room,
                orders=orders,
                queues=(Queue(key=QUEUE, stack_key=StackKey("stack")),),
            ),
            orders=orders,
            send=SendLaunch(fleet=self.fleet, ledger=self.ledger, in_flight=self.in_flight, telemetry=said),
            fleet=self.fleet,
            in_flight=self.in_flight,
            capacity=capacity,
            empty_ledger=EmptyLedgerCache(),
            quotas=quotas,
            program=a_published_program(self.ledger, self.clock, rules, RecordedTelemetry()),
            policy=rules,
            ids=ids,
            telemetry=said,
        )

    def put(self, *numbers: int, name: ClassName = SMALL, age: timedelta = HOUR, **changes: Any) -> list[StandbyVm]:  # noqa: ANN401  (a VM's own fields)
        """These VMs stand by, and EC2 shows them running."""
        shown = [
            a_vm(n, launched_at=self.clock.now() - age, state=VmState.RUNNING, hold=HOLD, vcpus=2) for n in numbers
        ]
        vms = [replace(StandbyVm.of(vm, class_name=name, hold=HOLD, shape="shape"), **changes) for vm in shown]
        self.fleet.shows = (*self.fleet.shows, *shown)
        self.records.add(vms)
        return vms

    def cycle(self, *, look: bool = True, **found: Any) -> DispatcherCycle:  # noqa: ANN401  (the cycle's own fields)
        """A cycle up to the step that finds standby VMs."""
        began = self.clock.monotonic()
        values = {"now": self.clock.now(), "began": began, "fence": self.fence, "book": self.book, **found}
        begun = DispatcherCycle(**values)
        if look:
            self.pool.begin(begun)
        return self.find(begun)

    def asked(self) -> list[tuple[str, int]]:
        """What is to stand by, of what EC2 was asked for, by class."""
        return [(intent.class_name, intent.count) for intent in self.in_flight.intents if intent.stands_by]

    def reasons(self) -> dict[str, str]:
        """Why VMs on the list are closed, by id."""
        return {vm.instance_id: vm.closing for vm in self.records.listed() if vm.closing is not None}
