"""Launch: requests VMs from EC2, class by class, in as few requests as possible, and learns from the answers.

The intent is written first, under the lease's fencing number. If the process dies between the intent and the request,
or between the request and the record of its answer, the next cycle finds the open intent and its VMs (`recover`).
Requests run beside the cycles (`in_flight`). A cycle collects the answers that arrived, and requests VMs that are still
missing from other pools or from the other capacity type.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from agent_stack.dispatcher.capacity_cache import CapacityCache
from agent_stack.dispatcher.class_room import ClassRoom
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.cycle_room import FEWEST
from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.dispatcher.launch_answers import LaunchAnswers, Learnt
from agent_stack.dispatcher.launch_bounds import LaunchBounds
from agent_stack.dispatcher.launch_deadline import LaunchDeadline
from agent_stack.dispatcher.launch_orders import LaunchOrders
from agent_stack.dispatcher.launch_room import LaunchRoom
from agent_stack.dispatcher.publish_program import PublishProgram
from agent_stack.dispatcher.quota_watch import QuotaWatch
from agent_stack.dispatcher.send_launch import SendLaunch
from agent_stack.dispatcher.token_supply import TokenSupply
from agent_stack.dispatcher.vcpu_cache import VcpuCache
from agent_stack.dispatcher.vcpu_room import VcpuRoom
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import VmClass, on_demand_name
from agent_stack.domain.errors import BugError
from agent_stack.domain.identifiers import ClassName, InstanceId
from agent_stack.domain.launching import MAX_VMS_OF_A_LAUNCH, Intent, LaunchOrder
from agent_stack.domain.policy import Policy
from agent_stack.domain.quota_buckets import buckets_of
from agent_stack.domain.quota_room import QuotaRoom
from agent_stack.domain.runs import Run
from agent_stack.domain.standby_pairs import paired
from agent_stack.domain.states import CapacityType
from agent_stack.ports import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Requests one VM for each ready run without an idle or requested VM, within the safety limits."""

    send: SendLaunch
    in_flight: InFlightLaunches
    capacity: CapacityCache
    orders: LaunchOrders
    room: LaunchRoom
    vcpu_room: VcpuRoom
    class_room: ClassRoom
    answers: LaunchAnswers
    deadline: LaunchDeadline
    program: PublishProgram
    quotas: QuotaWatch
    vcpus: VcpuCache
    tokens: TokenSupply
    policy: Policy
    telemetry: Telemetry

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Adds new VMs to `idle_vms`; fills `launching` to `wanted_launches`."""
        if cycle.book is None:
            raise BugError("launch needs the classes; recover reads them")
        if not cycle.ready and not self.in_flight.intents and not cycle.fitting:
            return cycle
        known = self.capacity.under(cycle.fence)
        answers = self.in_flight.collect(max(FEWEST, cycle.room - cycle.reserved))
        learnt = self._bindable(self.answers.learn(answers, known, cycle), cycle)
        learnt = replace(learnt, memory=self.quotas.watch(cycle, learnt.memory, learnt.fresh))
        wanted = self._wanted(cycle, learnt)
        cycle = replace(
            cycle,
            idle_vms=learnt.idle_vms,
            unconfirmed=cycle.unconfirmed
            + sum(intent.count for intent in learnt.unknown)
            + sum(learnt.standby.values()),
            standby_answered=learnt.standby,
            standby_unconfirmed=Counter(cycle.standby_unconfirmed) + _standing_by(learnt.unknown),
            wanted_launches=sum(len(runs) for runs in wanted.values()),
        )
        memory = learnt.memory
        if wanted and self.policy.launch_enabled and not self.tokens.down(cycle.now) and self.program.done(cycle.now):
            taken = self._taken(cycle) if cycle.standby else frozenset[InstanceId]()
            bounds = LaunchBounds.of(wanted.values(), self.vcpu_room, self.class_room, cycle, taken)
            memory = bounds.remembered(self._ask(wanted, memory, cycle, bounds))
            cycle = replace(cycle, held_back=bounds.held_back)
        cycle = replace(cycle, coming=self._coming(cycle, learnt))
        unmet = {name: len(runs) for name, runs in self._wanted(cycle, learnt).items()} if wanted else {}
        cycle = replace(cycle, unmet=unmet)
        self.in_flight.record(answers)  # after the next requests are sent, because jobs wait for those
        if memory != known:
            self.capacity.learn(memory, cycle.fence)
        self.deadline(cycle, learnt.idle_vms, memory)
        return replace(cycle, launching=sum(intent.count for intent in self.in_flight.intents))

    def _bindable(self, learnt: Learnt, cycle: DispatcherCycle) -> Learnt:
        """Without VMs that are too old to be bound, because an answer may come late."""
        young = {
            name: tuple(vm for vm in vms if cycle.now - vm.launched_at < self.policy.bindable_age)
            for name, vms in learnt.idle_vms.items()
        }
        return replace(learnt, idle_vms=young)

    def _wanted(self, cycle: DispatcherCycle, learnt: Learnt) -> dict[ClassName, list[Run]]:
        """Runs that need another VM than the idle and the requested ones, by class, in order of their priority."""
        cycle = replace(cycle, idle_vms=learnt.idle_vms, coming=self._coming(cycle, learnt))
        by_class: dict[ClassName, list[Run]] = defaultdict(list)
        for run in cycle.ready:
            if learnt.memory.breaker(run.class_name, cycle.now) is None:
                by_class[run.class_name].append(run)
        missing = {name: list(paired(runs, cycle.supply(name)).missing) for name, runs in by_class.items()}
        return {name: runs for name, runs in missing.items() if runs}

    def _coming(self, cycle: DispatcherCycle, learnt: Learnt) -> Counter[ClassName]:
        """VMs that were asked for because of jobs, and are not there yet."""
        coming = Counter(cycle.unconfirmed_by_class)
        for intent in (*self.in_flight.intents, *learnt.unknown):
            kind = intent.capacity_type
            if not intent.stands_by and (
                kind is None
                or kind is CapacityType.ON_DEMAND
                or not learnt.memory.falls_back(intent.class_name, kind, cycle.now)
            ):
                coming[intent.class_name] += intent.count
        return coming

    def _ask(
        self,
        wanted: Mapping[ClassName, list[Run]],
        memory: LaunchMemory,
        cycle: DispatcherCycle,
        bounds: LaunchBounds,
    ) -> LaunchMemory:
        if not memory.worth_asking(cycle.wanted_launches, self.policy.instance_budget, cycle.now):
            paused = "launches_paused" if memory.paused(cycle.now) else "launches_held_back"
            self.telemetry.info(paused, count=cycle.wanted_launches)
            return memory
        room = self.room(cycle, memory, cycle.wanted_launches)
        quotas = self.quotas.room(cycle, memory)
        for name, runs in wanted.items():
            vm_class = cycle.book.find(name) if cycle.book is not None else None
            if vm_class is None:
                continue
            self.vcpus.want(vm_class.instance_types, cycle.now)  # a refusal for a quota is understood with them
            count = min(
                len(runs),
                room,
                bounds.within(name, len(runs)),
                memory.requests_left(cycle.now) * MAX_VMS_OF_A_LAUNCH,
            )
            if count < len(runs):
                self.telemetry.info("launches_held_back", class_name=name, count=len(runs) - max(0, count))
            if count <= 0:
                continue
            for order, chunk in self._orders(vm_class, runs[:count], memory, quotas, cycle):
                if not self._send(order, chunk, cycle):
                    return memory
                room -= order.count
                bounds.ask(name, order.count)
                memory = memory.asking(order.count, self.policy.instance_budget, cycle.now)
                quotas = replace(quotas, busy=quotas.busy | buckets_of(order.pools))
        return memory

    def _orders(
        self, vm_class: VmClass, runs: Sequence[Run], memory: LaunchMemory, quotas: QuotaRoom, cycle: DispatcherCycle
    ) -> Iterator[tuple[LaunchOrder, Sequence[Run]]]:
        """The class's own, after what its mix wants on-demand. What on-demand has no room for is asked for as spot."""
        ahead = self.in_flight.of_failing_classes(memory)
        due = 0 if vm_class.mix is None else vm_class.mix.on_demand_due(len(runs), self._up(vm_class.name, cycle))
        left = runs
        if due:
            steady = vm_class.bought_on_demand
            for order, chunk in self.orders(steady, runs[:due], memory, quotas, cycle.now, on_their_way=ahead):
                left = left[len(chunk) :]
                yield order, chunk
        if left:
            yield from self.orders(vm_class, left, memory, quotas, cycle.now, on_their_way=ahead)

    def _up(self, name: ClassName, cycle: DispatcherCycle) -> Counter[CapacityType]:
        """How the VMs of that class were bought, those included that are asked for and that fell back to on-demand.

        Standby VMs are bought as the class says. If they counted, all others would be on-demand to make up for them.
        """
        names = {name, on_demand_name(name)}
        bound = (run.binding for run in cycle.active if run.class_name in names)
        up = Counter(binding.capacity_type for binding in bound if binding is not None and not binding.standby)
        up.update(vm.capacity_type for one in names for vm in cycle.idle_vms.get(one, ()))
        for intent in self.in_flight.intents:
            if intent.class_name in names and intent.capacity_type is not None and not intent.stands_by:
                up[intent.capacity_type] += intent.count
        return up

    @staticmethod
    def _taken(cycle: DispatcherCycle) -> frozenset[InstanceId]:
        """The standby VMs that runs of this cycle get: each is counted with its run."""
        by_class: dict[ClassName, list[Run]] = defaultdict(list)
        for run in cycle.ready:
            by_class[run.class_name].append(run)
        pairs = [pair for name, runs in by_class.items() for pair in paired(runs, cycle.supply(name)).pairs]
        return frozenset(vm.instance_id for _, vm in pairs if vm.hold is not None)

    def _send(self, order: LaunchOrder, runs: Iterable[Run], cycle: DispatcherCycle) -> bool:
        queues = tuple(sorted({run.queue_key for run in runs}))
        return self.send(order, cycle, queues=queues)


def _standing_by(intents: Iterable[Intent]) -> Counter[ClassName]:
    """How many VMs of each class these launches were to bring that stand by."""
    found = Counter[ClassName]()
    for intent in intents:
        if intent.stands_by:
            found[intent.class_name] += intent.count
    return found
