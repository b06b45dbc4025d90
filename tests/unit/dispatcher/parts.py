"""Parts of a dispatcher that several of its tests need: workers, an EC2 by script, and what its steps share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

from agent_stack.dispatcher.capacity_cache import CapacityCache
from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.dispatcher.publish_program import PublishProgram
from agent_stack.dispatcher.quota_watch import QuotaWatch
from agent_stack.dispatcher.standby_pool import StandbyPool
from agent_stack.dispatcher.vcpu_cache import VcpuCache
from agent_stack.dispatcher.vm_count import VmCount
from agent_stack.dispatcher.vm_prefetch import VmPrefetch
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import ClassBook, VmClass
from agent_stack.domain.errors import AgentStackError, LaunchPausedError, RetryError
from agent_stack.domain.identifiers import ClassName, InstanceId, IntentId, QueueKey
from agent_stack.domain.launching import Intent, LaunchOrder, LaunchOutcome
from agent_stack.domain.policy import Policy
from agent_stack.domain.programs import VmProgram
from agent_stack.domain.states import CapacityType, VmState
from agent_stack.domain.vms import Vm
from agent_stack.ports import Clock, InstanceTypes, Ledger, Task, Telemetry
from agent_stack.ports.ec2 import always
from tests.simulator.clock import EPOCH
from tests.simulator.memory import MemoryInstanceTypes, MemoryLedger, MemoryStandbyVms, Store
from tests.simulator.memory.programs import MemoryPrograms
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.values import a_vm

ResultT = TypeVar("ResultT")

SMALL, LARGE = ClassName("small"), ClassName("large")


@dataclass(slots=True)
class Work(Generic[ResultT]):
    """A task that is done when a test says so, and fails as its work does."""

    task: Callable[[], ResultT]
    _answer: tuple[ResultT] | AgentStackError | None = None

    def perform(self) -> None:
        """Do it, once."""
        if self._answer is None:
            try:
                self._answer = (self.task(),)
            except AgentStackError as error:
                self._answer = error

    def done(self) -> bool:
        return self._answer is not None

    def result(self) -> ResultT:
        assert self._answer is not None, "nobody asks for a result before it is there"
        if isinstance(self._answer, AgentStackError):
            raise self._answer
        return self._answer[0]


@dataclass(slots=True)
class ByHand:
    """Workers that do nothing before a test says so."""

    submitted: list[Work[Any]] = field(default_factory=list)
    waited: list[timedelta] = field(default_factory=list)

    def submit(self, task: Callable[[], ResultT]) -> Work[ResultT]:
        work = Work(task)
        self.submitted.append(work)
        return work

    def wait(self, tasks: Sequence[Task[Any]], at_most: timedelta) -> None:
        self.waited.append(at_most)

    def perform(self) -> None:
        """All that was submitted."""
        for work in self.submitted:
            work.perform()


class AtOnce:
    """Workers that do everything at once."""

    def submit(self, task: Callable[[], ResultT]) -> Work[ResultT]:
        work = Work(task)
        work.perform()
        return work

    def wait(self, tasks: Sequence[Task[Any]], at_most: timedelta) -> None:
        """Nothing is left to wait for."""


@dataclass(slots=True, kw_only=True)
class ScriptedFleet:
    """EC2 as a test wants it; what it was asked for is in `journal`, in order.

    Attributes:
        shows: the VMs that EC2 shows, by whichever look.
        types: those that each request names.
        answers: to launches, in order; after them each launch brings all VMs that it asks for.
        pools_by_class: of classes that have pools of their own.
        look: fails each look at the VMs.
        no_pools: fails the look-up of pools.
    """

    shows: Sequence[Vm] = ()
    answers: list[LaunchOutcome | AgentStackError] = field(default_factory=list)
    pools_by_type: Mapping[CapacityType, Sequence[str]] = field(default_factory=dict)
    pools_by_class: dict[ClassName, tuple[str, ...]] = field(default_factory=dict)
    look: AgentStackError | None = None
    no_pools: AgentStackError | None = None
    journal: list[str] = field(default_factory=list)
    orders: list[LaunchOrder] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    shapes: dict[ClassName, str] = field(default_factory=dict)
    types: dict[str, frozenset[str]] = field(default_factory=dict)

    def pools(self, vm_class: VmClass, capacity_type: CapacityType) -> Sequence[str]:
        self.journal.append(f"pools {capacity_type}")
        if self.no_pools is not None:
            raise self.no_pools
        if vm_class.name in self.pools_by_class:
            return self.pools_by_class[vm_class.name]
        return self.pools_by_type.get(capacity_type, (f"{capacity_type}:m7i.large:a", f"{capacity_type}:m7i.large:b"))

    def shape(self, vm_class: VmClass) -> str:
        return self.shapes.get(vm_class.name, "shape")

    def render(self, order: LaunchOrder) -> str:
        self.orders.append(order)
        return f"{order.intent_id} {order.count}"

    def types_of(self, request: str) -> frozenset[str]:
        return self.types.get(request, frozenset())

    def launch(self, request: str, *, permitted: Callable[[], bool] = always) -> LaunchOutcome:
        if not permitted():
            raise LaunchPausedError("paused")
        self.journal.append("launch")
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else self._all_of(request)
        if isinstance(answer, AgentStackError):
            raise answer
        return answer

    def warm_up(self) -> None:
        self.journal.append("warm_up")

    def look_at_subnets(self) -> None:
        self.journal.append("look_at_subnets")

    def describe(self) -> Sequence[Vm]:
        self.journal.append("describe")
        if self.look is not None:
            raise self.look
        return [vm for vm in self.shows if vm.state is not VmState.TERMINATED]

    def describe_by_id(self, instance_ids: Sequence[InstanceId]) -> Sequence[Vm]:
        self.journal.append("describe_by_id")
        if self.look is not None:
            raise self.look
        return [vm for vm in self.shows if vm.instance_id in instance_ids]

    def impaired(self) -> frozenset[InstanceId]:
        return frozenset()

    def console_output(self, instance_id: InstanceId) -> str:
        return ""

    def terminate(self, instance_ids: Sequence[InstanceId]) -> Mapping[InstanceId, AgentStackError]:
        return {}

    def _all_of(self, request: str) -> LaunchOutcome:
        intent_id, _, count = request.partition(" ")
        first = 1000 * len(self.requests)
        return LaunchOutcome(
            vms=tuple(a_vm(first + number, intent_id=IntentId(intent_id)) for number in range(int(count)))
        )


@dataclass(frozen=True, kw_only=True)
class WatchedLedger(MemoryLedger):
    """A ledger that notes what it is asked for, and fails as a test says.

    Attributes:
        fails: by name of the method, how often it fails and with what.
    """

    journal: list[str] = field(default_factory=list)
    fails: dict[str, list[AgentStackError]] = field(default_factory=dict)

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401  (any method of the ledger)
        found = super().__getattribute__(name)
        if name.startswith("_") or not callable(found) or name == "sleep":
            return found

        def noted(*args: Any, **named: Any) -> Any:  # noqa: ANN401  (whatever the method takes)
            self.journal.append(name)
            errors = self.fails.get(name)
            if errors:
                raise errors.pop(0)
            return found(*args, **named)

        return noted


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedClasses:
    """Where the classes come from: always the same."""

    classes: ClassBook

    def book(self) -> ClassBook:
        return self.classes


def a_class(name: ClassName, **changes: Any) -> VmClass:  # noqa: ANN401  (a class's own fields)
    return VmClass(**{"name": name, "instance_types": ("m7i.large",), "image": "ami-0123456789abcdef0", **changes})


def a_book(*classes: VmClass) -> ClassBook:
    listed = classes or (a_class(SMALL), a_class(LARGE, instance_types=("m7i.4xlarge",)))
    return ClassBook(classes={one.name: one for one in listed}, default=listed[0].name)


def an_intent(number: int = 1, **changes: Any) -> Intent:  # noqa: ANN401  (an intent's own fields)
    """A launch of two VMs, written down at `EPOCH`."""
    values: dict[str, Any] = {
        "intent_id": IntentId(f"as-{number}"),
        "class_name": SMALL,
        "request": f"as-{number} 2",
        "count": 2,
        "queues": (QueueKey("default"),),
        "created_at": EPOCH,
        **changes,
    }
    return Intent(**values)


def a_capacity(memory: LaunchMemory | None = None, ledger: Ledger | None = None) -> CapacityCache:
    """What the dispatcher knows of EC2: that memory, or what that ledger holds."""
    kept = ledger or MemoryLedger(store=Store())
    if memory is not None:
        kept.remember_launches(memory, fence=1)
    return CapacityCache(ledger=kept, write_beside=lambda _, write: write())


class SilentInstanceTypes:
    """An EC2 that does not say how many vCPUs a type has."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []

    def vcpus(self, instance_types: Sequence[str]) -> Mapping[str, int]:
        self.asked.append(instance_types)
        raise RetryError("DescribeInstanceTypes: throttled")


def a_vcpu_cache(instance_types: InstanceTypes | None = None) -> VcpuCache:
    """What is known of types: what the catalogue says, unless a test has another EC2."""
    types = instance_types or MemoryInstanceTypes()
    return VcpuCache(instance_types=types, workers=AtOnce(), telemetry=RecordedTelemetry())


def a_vm_count(policy: Policy, ledger: Ledger | None = None, in_flight: InFlightLaunches | None = None) -> VmCount:
    """What a process knows that has not looked yet."""
    return VmCount(
        ledger=ledger or MemoryLedger(store=Store()),
        in_flight=in_flight or an_in_flight(),
        workers=AtOnce(),
        most=policy.max_instances,
        write_beside=lambda _, write: write(),
    )


def a_prefetch(capacity: CapacityCache, policy: Policy) -> VmPrefetch:
    """A look at an EC2 without VMs."""
    fleet: Any = SimpleNamespace(describe=tuple, look_at_subnets=lambda: None)
    return VmPrefetch(fleet=fleet, workers=AtOnce(), capacity=capacity, count=a_vm_count(policy), policy=policy)


def a_published_program(ledger: Ledger, clock: Clock, policy: Policy, telemetry: Telemetry) -> PublishProgram:
    """The second stage of the boot program, which nothing keeps from being published."""
    program = VmProgram(text="echo the second stage\n")
    return PublishProgram(
        programs=MemoryPrograms(clock=clock),
        ledger=ledger,
        program=program,
        wanted=program.sha256,
        policy=policy,
        telemetry=telemetry,
    )


def an_in_flight() -> InFlightLaunches:
    """No launch is in flight."""
    fleet: Any = SimpleNamespace(describe=tuple)
    clock: Any = SimpleNamespace(now=lambda: EPOCH)
    return InFlightLaunches(
        fleet=fleet,
        ledger=MemoryLedger(store=Store()),
        workers=AtOnce(),
        clock=clock,
        telemetry=RecordedTelemetry(),
    )


def a_standby_pool(store: Store, fleet: ScriptedFleet | None = None) -> StandbyPool:
    """What a process knows of the standby VMs of that store. Every look is done at once."""
    return StandbyPool(
        fleet=fleet or ScriptedFleet(),
        records=MemoryStandbyVms(store=store),
        workers=AtOnce(),
        telemetry=RecordedTelemetry(),
        write_beside=lambda _, write: write(),
    )


def a_quota_watch(vcpus: VcpuCache) -> QuotaWatch:
    """A watch over an EC2 without VMs."""
    fleet: Any = SimpleNamespace(describe=tuple)
    return QuotaWatch(
        fleet=fleet, in_flight=an_in_flight(), vcpus=vcpus, workers=AtOnce(), telemetry=RecordedTelemetry()
    )
