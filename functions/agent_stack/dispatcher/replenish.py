"""Replenish: keeps as many standby VMs up as the classes want, after the jobs are served.

It closes what is too old, stale or too many, and asks for what is missing within the maxima, the budgets and the
cooldowns. Jobs that wait for a bound come first: nothing is launched to stand by while a job lacks what it would take.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby

from agent_stack.dispatcher.capacity_cache import CapacityCache
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.empty_ledger import EmptyLedgerCache
from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.dispatcher.launch_orders import LaunchOrders
from agent_stack.dispatcher.publish_program import PublishProgram
from agent_stack.dispatcher.quota_watch import QuotaWatch
from agent_stack.dispatcher.send_launch import SendLaunch
from agent_stack.dispatcher.standby_pool import StandbyPool
from agent_stack.dispatcher.standby_room import StandbyRoom
from agent_stack.dispatcher.standby_troubles import StandbyTroubles, has_stood_by
from agent_stack.domain.attempts import Attempt
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import VmClass
from agent_stack.domain.identifiers import ClassName, QueueKey
from agent_stack.domain.launching import MAX_VMS_OF_A_LAUNCH
from agent_stack.domain.measures import Metric
from agent_stack.domain.moments import has_passed
from agent_stack.domain.pauses import EVERYTHING
from agent_stack.domain.policy import Policy
from agent_stack.domain.quota_buckets import buckets_of
from agent_stack.domain.standby import ClassPlan, ClassPool, Closing, StandbyVm
from agent_stack.domain.standby_schedule import Standby
from agent_stack.lease_time import NOTHING, LeaseTime
from agent_stack.ports import Fleet, Ids, Telemetry

PLAN_EVERY = timedelta(seconds=5)
"""Windows open and VMs grow old also while nothing happens."""

NONE = Standby(hot=0, max_age=timedelta(hours=4))
"""What a class wants that has no standby VMs any more, or is not offered any more."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One standby VM that is missing. See `launch_orders.Place`."""

    tried: Sequence[Attempt] = ()


@dataclass(slots=True, kw_only=True)
class Replenish:
    """Plans class by class when something has changed, and every few seconds."""

    pool: StandbyPool
    troubles: StandbyTroubles
    room: StandbyRoom
    orders: LaunchOrders
    send: SendLaunch
    fleet: Fleet
    in_flight: InFlightLaunches
    capacity: CapacityCache
    empty_ledger: EmptyLedgerCache
    quotas: QuotaWatch
    program: PublishProgram
    policy: Policy
    ids: Ids
    telemetry: Telemetry
    _planned: tuple[int, int, datetime] | None = field(default=None, init=False)
    """The pool's version, what was coming, and when the latest plan was made."""
    _time: LeaseTime = field(default_factory=LeaseTime, init=False)

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Adds what it asks for to `launching`."""
        known = self.pool.vms(cycle)
        if known is None and not any(map(has_stood_by, cycle.active)):
            return cycle
        memory = self.troubles(cycle, known or ())  # in each cycle, for a run may have another VM before the next plan
        if known is None or cycle.book is None:
            return cycle
        self._measure(known, cycle)
        coming = self._coming(cycle)
        planned = (self.pool.version, sum(coming.values()))
        before = self._planned
        if before is not None and before[:2] == planned and not has_passed(PLAN_EVERY, before[2], cycle.now):
            return cycle
        self._planned = (*planned, cycle.now)
        plans = {vm_class.name: plan for vm_class, plan in self._plans(known, coming, memory, cycle)}
        self._close(pair for plan in plans.values() for pair in plan.closing)
        missing = {name: plan.holds for name, plan in plans.items() if plan.holds}
        asked = self._ask(missing, memory, cycle) if missing and self._may_launch(cycle) else 0
        return replace(cycle, launching=cycle.launching + asked)

    def _plans(
        self, known: Sequence[StandbyVm], coming: Mapping[ClassName, int], memory: LaunchMemory, cycle: DispatcherCycle
    ) -> Iterator[tuple[VmClass, ClassPlan]]:
        book = cycle.book
        if book is None:
            return
        wanting = [vm_class for vm_class in book.classes.values() if vm_class.standby is not None]
        others = {vm.class_name for vm in known} - {vm_class.name for vm_class in wanting}
        if self.policy.launch_enabled:
            others -= book.broken.keys()  # a class that is wrong for a while keeps its VMs
        for name in others:
            vm_class = book.find(name) or VmClass(name=name, instance_types=(), image="")
            wanting.append(replace(vm_class, standby=NONE))
        for vm_class in wanting:
            pool = ClassPool(
                standby=vm_class.standby or NONE,
                vms=[vm for vm in known if vm.class_name == vm_class.name],
                coming=coming.get(vm_class.name, 0),
                shape=self.fleet.shape(vm_class),
                lead=vm_class.boot_timeout,
                now=cycle.now,
            )
            yield vm_class, pool.plan(self.ids.fraction(), suspended=self._suspended(vm_class.name, memory, cycle.now))

    def _suspended(self, name: ClassName, memory: LaunchMemory, now: datetime) -> Closing | None:
        if not self.policy.launch_enabled:
            return Closing.LAUNCHES_OFF
        trouble = memory.standby.get(name)
        return Closing.MISSES if trouble is not None and trouble.is_suspended(now) else None

    def _coming(self, cycle: DispatcherCycle) -> Counter[ClassName]:
        """Standby VMs that are asked for, and not on the list yet."""
        coming = Counter(cycle.standby_unconfirmed) + Counter(cycle.standby_answered)
        for intent in self.in_flight.intents:
            if intent.stands_by:
                coming[intent.class_name] += intent.count
        return coming

    def _close(self, closing: Iterable[tuple[StandbyVm, Closing]]) -> None:
        wanted = [replace(vm, closing=why) for vm, why in closing]
        for vm in self.pool.close(wanted):
            self.telemetry.info(
                "standby_closed", instance_id=vm.instance_id, class_name=vm.class_name, reason=vm.closing
            )

    def _may_launch(self, cycle: DispatcherCycle) -> bool:
        if not self.policy.launch_enabled:
            return False
        stopped = self.in_flight.permission.stopped([QueueKey(EVERYTHING)])
        return not stopped and not self.room.queues_paused(cycle) and self.program.done(cycle.now)

    def _ask(
        self, missing: Mapping[ClassName, Sequence[timedelta]], memory: LaunchMemory, cycle: DispatcherCycle
    ) -> int:
        """How many VMs were asked for. What was sent is remembered also when a later intent cannot be written."""
        sent = list(self._sent(missing, memory, cycle))
        if sent:
            self.capacity.learn(sent[-1][1], cycle.fence)
        return sum(count for count, _ in sent)

    def _sent(
        self, missing: Mapping[ClassName, Sequence[timedelta]], memory: LaunchMemory, cycle: DispatcherCycle
    ) -> Iterator[tuple[int, LaunchMemory]]:
        """The size of each request that was sent, and the launch memory after it."""
        quotas = self.quotas.room(cycle, memory)
        asked, places = 0, self.room.places(cycle, memory, quotas, sum(map(len, missing.values())))
        for name, holds in missing.items():
            vm_class = cycle.book.find(name) if cycle.book is not None else None
            trouble = memory.standby.get(name)
            if vm_class is None or (trouble is not None and not trouble.may_launch(cycle.now)):
                continue
            count = min(len(holds), places - asked, self.room.of_class(vm_class, cycle, quotas))
            if count <= 0 or memory.breaker(name, cycle.now) is not None:
                continue
            for hold, same in groupby(holds[:count]):
                slots = [Slot() for _ in same]
                for start in range(0, len(slots), MAX_VMS_OF_A_LAUNCH):
                    chunk = slots[start : start + MAX_VMS_OF_A_LAUNCH]
                    for order, _ in self.orders(vm_class, chunk, memory, quotas, cycle.now, hold=hold):
                        self.empty_ledger.invalidate()
                        if not self.send(order, cycle, queues=(QueueKey(EVERYTHING),)):
                            return
                        asked += order.count
                        memory = memory.asking(order.count, self.policy.instance_budget, cycle.now)
                        quotas = replace(quotas, busy=quotas.busy | buckets_of(order.pools))
                        yield order.count, memory

    def _measure(self, known: Sequence[StandbyVm], cycle: DispatcherCycle) -> None:
        """What readiness costs: the time for which VMs stand by."""
        since = self._time.passed(fence=cycle.fence, began=cycle.began)
        up = [(vm, max(NOTHING, min(since, cycle.now - vm.launched_at))) for vm in known if vm.closing is None]
        if since and up:
            self.telemetry.count(Metric.STANDBY_VM_SECONDS, round(sum(spent.total_seconds() for _, spent in up)))
            vcpu_seconds = sum(vm.vcpus * spent.total_seconds() for vm, spent in up)
            self.telemetry.count(Metric.VCPU_SECONDS, round(vcpu_seconds))
