"""Launch answers: learns from EC2's answers to launches which VMs exist, which pools failed, and what is unknown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.in_flight import Answer, InFlightLaunches
from agent_stack.dispatcher.vcpu_cache import VcpuCache
from agent_stack.domain import lessons
from agent_stack.domain.answers import Answer as Answered
from agent_stack.domain.breakers import ACCOUNT
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import VmClass
from agent_stack.domain.errors import AgentStackError, LaunchPausedError, UnknownOutcomeError
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.launching import Intent, LaunchErrorClass, LaunchOutcome
from agent_stack.domain.measures import Metric
from agent_stack.domain.quota_room import capacity_types_of
from agent_stack.domain.states import CapacityType
from agent_stack.domain.vms import Vm
from agent_stack.ports import Fleet, Ids, Telemetry

NEEDS_OPERATOR = frozenset({LaunchErrorClass.ACCOUNT, LaunchErrorClass.CONFIGURATION, LaunchErrorClass.UNRECOGNISED})
"""Errors that an operator must fix, because waiting does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What the dispatcher knows after the answers of one cycle.

    Attributes:
        idle_vms: the idle VMs by class, with the new ones.
        unknown: launches whose outcome is unknown, or not looked at yet; their VMs may be up.
        standby: standby VMs of each class that EC2 has launched.
        fresh: the VMs that EC2 has just launched, whatever for.
    """

    memory: LaunchMemory
    idle_vms: Mapping[ClassName, tuple[Vm, ...]]
    unknown: tuple[Intent, ...] = ()
    standby: Mapping[ClassName, int] = field(default_factory=dict)
    fresh: tuple[Vm, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchAnswers:
    """Adds each answer to the launch memory, and logs it."""

    fleet: Fleet
    in_flight: InFlightLaunches
    vcpus: VcpuCache
    ids: Ids
    telemetry: Telemetry

    def learn(self, answers: Sequence[Answer], memory: LaunchMemory, cycle: DispatcherCycle) -> Learnt:
        """The memory and the idle VMs, with these answers added."""
        idle = dict(cycle.idle_vms)
        unknown: list[Intent] = []
        standby = Counter[ClassName]()
        fresh: list[Vm] = []
        for intent, answer in answers:
            name = intent.class_name
            if isinstance(answer, LaunchOutcome):
                self._log(intent, answer)
                memory = self._learnt(intent, answer, memory, cycle)
                if self.in_flight.is_replay(intent.intent_id):
                    unknown.append(intent)  # its VMs may be dead by now: the next cycle looks at each of them
                    continue
                fresh += answer.vms
                if intent.stands_by:
                    standby[name] += len(answer.vms)
                else:
                    idle[name] = (*idle.get(name, ()), *answer.vms)
                continue
            if isinstance(answer, LaunchPausedError):  # EC2 was not asked, so it taught nothing
                self.telemetry.info("launch_paused", class_name=name, count=intent.count)
                if self.in_flight.is_replay(intent.intent_id):
                    unknown.append(intent)
                continue
            kind = self._capacity_type(intent, cycle)
            memory = lessons.failed(memory, name, kind, str(answer), cycle.now, self.ids.fraction())
            if isinstance(answer, UnknownOutcomeError):
                unknown.append(intent)
                self._note("launch_unknown", intent, answer)
            else:  # EC2 was not reached, or throttled: both need a pause
                if self.in_flight.is_replay(intent.intent_id):
                    unknown.append(intent)
                self._note("launch_failed", intent, answer)
                memory = memory.throttled(cycle.now, self.ids.fraction())
        return Learnt(memory=memory, idle_vms=idle, unknown=tuple(unknown), standby=standby, fresh=tuple(fresh))

    def _learnt(
        self, intent: Intent, outcome: LaunchOutcome, memory: LaunchMemory, cycle: DispatcherCycle
    ) -> LaunchMemory:
        vm_class = None if cycle.book is None else cycle.book.find(intent.class_name)
        if vm_class is None or cycle.book is None:
            return memory  # the operator has removed it since
        if outcome.errors:
            self.vcpus.want(vm_class.instance_types, cycle.now)
        answer = Answered(
            vm_class=vm_class,
            capacity_type=self._capacity_type(intent, cycle),
            outcome=outcome,
            all_pools=self._pools(vm_class) if outcome.errors else (),
            now=cycle.now,
            jitter=self.ids.fraction(),
            vcpus=self.vcpus.known,
            other_classes=len(cycle.book.classes) > 1,
        )
        after = lessons.learn(memory, answer)
        if after.breakers.get(ACCOUNT) != memory.breakers.get(ACCOUNT) and ACCOUNT in after.breakers:
            self.telemetry.error("account_refused", error=after.breakers[ACCOUNT].message)
            self.telemetry.count(Metric.LAUNCH_ERRORS, of=LaunchErrorClass.ACCOUNT)
        return after

    def _pools(self, vm_class: VmClass) -> Sequence[str]:
        try:
            return [pool for kind in capacity_types_of(vm_class) for pool in self.fleet.pools(vm_class, kind)]
        except AgentStackError:
            return ()  # the answer still teaches what it says of its own pools

    @staticmethod
    def _capacity_type(intent: Intent, cycle: DispatcherCycle) -> CapacityType:
        """That of the request; the class's own where an older version did not write it down."""
        if intent.capacity_type is not None:
            return intent.capacity_type
        vm_class = None if cycle.book is None else cycle.book.find(intent.class_name)
        return CapacityType.ON_DEMAND if vm_class is None else vm_class.capacity_type

    def _log(self, intent: Intent, outcome: LaunchOutcome) -> None:
        for partial in outcome.errors:
            log = self.telemetry.error if partial.error_class in NEEDS_OPERATOR else self.telemetry.warning
            log(
                "launch_partial",
                class_name=intent.class_name,
                error_class=partial.error_class,
                code=partial.code,
                pool=partial.pool,
                error=partial.message,
            )
        self.telemetry.info(
            "vms_launched", class_name=intent.class_name, count=len(outcome.vms), intent_id=intent.intent_id
        )

    def _note(self, message: str, intent: Intent, error: AgentStackError) -> None:
        self.telemetry.info(message, class_name=intent.class_name, count=intent.count, error=str(error))
