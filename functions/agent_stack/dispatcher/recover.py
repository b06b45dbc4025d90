"""Recover: reads what earlier cycles left: active runs, open intents, and VMs without a run.

A crash between two effects of the dispatcher leaves a run without a VM or a VM without a run. This step finds both, and
`bind` joins them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache

from agent_stack.dispatcher.active_runs import ActiveRuns
from agent_stack.dispatcher.capacity_cache import CapacityCache
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.empty_ledger import EmptyLedgerCache
from agent_stack.dispatcher.first_pages import FirstPages
from agent_stack.dispatcher.idle_vms import NOT_SHOWN_YET, IdleVms
from agent_stack.dispatcher.in_flight import SETTLE_LAST, InFlightLaunches
from agent_stack.dispatcher.runs_in_need import RunsInNeed
from agent_stack.dispatcher.types_on_their_way import types_on_their_way
from agent_stack.dispatcher.vm_prefetch import VmPrefetch
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import ClassName, InstanceId, QueueKey
from agent_stack.domain.launching import Intent
from agent_stack.domain.moments import is_due
from agent_stack.domain.policy import Policy
from agent_stack.domain.states import CapacityType
from agent_stack.domain.vms import Vm
from agent_stack.outages import Outages
from agent_stack.ports import ClassSource, Fleet, Ledger, Telemetry

UNANSWERED_GRACE = timedelta(seconds=12)
"""How long an unanswered launch is left to the process that requested it: the time that this process waits for answers
after its lease, and the slowest answer. The successor of a dead process starts after its lease has expired anyway."""

Listing = Callable[[], Sequence[Vm] | AgentStackError]

_HOLDS = "holds"


@dataclass(slots=True, kw_only=True)
class Recover:
    """Reads the ledger, finds the outcome of unanswered launches, and lists the VMs that can be bound."""

    ledger: Ledger
    fleet: Fleet
    in_flight: InFlightLaunches
    prefetch: VmPrefetch
    capacity: CapacityCache
    empty_ledger: EmptyLedgerCache
    classes: ClassSource
    policy: Policy
    telemetry: Telemetry
    first_pages: FirstPages | None = None
    _outages: Outages = field(default_factory=Outages, init=False, repr=False)
    _active: ActiveRuns = field(init=False, repr=False)
    _idle: IdleVms = field(init=False, repr=False)
    _lease: tuple[int, datetime] | None = field(default=None, init=False, repr=False)
    """The number of the lease, and when this process first worked under it."""

    def __post_init__(self) -> None:
        self._active = ActiveRuns(ledger=self.ledger, clock=self.in_flight.clock)
        self._idle = IdleVms(fleet=self.fleet, policy=self.policy, telemetry=self.telemetry)

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Fills `vm_listing` to `idle_vms`, and what of the launches of standby VMs is open."""
        self._lease = self._lease if self._lease and self._lease[0] == cycle.fence else (cycle.fence, cycle.now)
        self.prefetch.foresee(cycle)
        book = self.classes.book()
        if self.empty_ledger.is_valid(cycle.fence, cycle.now):
            self.prefetch.read_ahead(cycle.fence)
            return replace(self.prefetch.start(cycle, cycle.expected_launches), book=book)
        if self.first_pages is not None:
            cycle = self.first_pages.start(cycle)
        cycle = self.prefetch.start(cycle, cycle.expected_launches)
        active = tuple(self._active(cycle.fence))
        in_need = RunsInNeed(active=active, in_flight=self.in_flight)
        taken = cache(lambda: frozenset(run.binding.instance_id for run in active if run.binding is not None))
        idle: dict[ClassName, tuple[Vm, ...]] = {}
        unknown: list[Intent] = []
        launched: list[Intent] = []
        under_way = {intent.intent_id for intent in self.in_flight.intents}
        intents = () if self.policy.observe_only else self.ledger.open_intents()
        if not active and not intents:
            self.empty_ledger.mark_empty(cycle.fence, cycle.now)
        self.in_flight.forget_others(intents)
        held = cache(self._held)
        listing = cache(lambda: self._listing(cycle))
        outcomes = {one.intent_id: one if one.spent else self.in_flight.outcome_of(one.intent_id) for one in intents}
        for intent in sorted(intents, key=lambda one: outcomes[one.intent_id] is None):  # the VMs that are known first
            if intent.intent_id in under_way:
                continue  # this process requested it and waits for the answer
            settled = outcomes[intent.intent_id] or self._settle(
                intent, cycle, in_need.queues(intent.class_name, idle), listing
            )
            if settled is None:
                unknown += [] if self._is_replayed(intent) else [intent]  # that is counted with those asked for
                continue
            if settled.stands_by:
                launched.append(settled)
                continue
            young = (vm for vm in settled.vms if self._idle.is_young(vm, cycle.now))
            usable = tuple(vm for vm in young if vm.instance_id not in taken())
            if intent.spent or self.policy.hold_on_failure:
                usable = tuple(vm for vm in usable if vm.instance_id not in held())
            if not usable:
                self.in_flight.close(settled.intent_id)
                continue
            idle[settled.class_name] = (*idle.get(settled.class_name, ()), *usable)
        found = self._idle.look(idle, cycle.now)
        for_jobs = [one for one in unknown if not one.stands_by and not self._has_fallen_back(one, cycle)]
        return replace(
            cycle,
            book=book,
            active=active,
            unconfirmed=sum(intent.count for intent in unknown) + found.hidden,
            unconfirmed_by_class=_by_class(for_jobs) + found.coming,
            types_on_their_way={} if self.policy.max_vcpus is None else types_on_their_way(intents, self.fleet),
            idle_vms=found.alive,
            standby_launches=tuple(launched),
            standby_unconfirmed=_by_class([one for one in unknown if one.stands_by]),
        )

    def _held(self) -> frozenset[InstanceId]:
        """Held VMs, which look idle. Some are up after HoldOnFailureMinutes was set to 0, too.

        Read after the runs, because a VM is recorded as held before its run is free, and only where there are VMs
        without a run. A VM of a launch that was just answered had no run yet.
        """
        try:
            held = self.ledger.holds()
        except AgentStackError as error:  # a held VM's mailbox is filled, so that no job can be bound to it anyway
            self._outages.passing(_HOLDS, self.telemetry, "holds_unknown", error=str(error))
            return frozenset()
        self._outages.is_over(_HOLDS)
        return frozenset(hold.instance_id for hold in held.vms)

    def _settle(
        self, intent: Intent, cycle: DispatcherCycle, queues: frozenset[QueueKey], listing: Listing
    ) -> Intent | None:
        """Finds the outcome of a launch whose answer was never recorded; None while it is unknown.

        A young intent is left alone, because the previous dispatcher may still wait for its answer.

        Then the dispatcher replays the stored request, beside the cycle. That is safe at any time, because EC2 gives
        one answer to one client token. The dispatcher does not replay when the VMs would be too old to be bound, when
        the class has fallen back to another capacity type, when the VMs are to stand by, when the operator has paused
        launches, or when no run of its class and queues lacks a VM. Then it finds existing VMs by the launch tag. A
        launch that was looked for and may not be replayed now is looked for later each time. Fewer VMs than it asked
        for prove nothing before `NOT_SHOWN_YET` after the last request, also one of the process before. Only `poll`,
        later in the cycle, learns whether a queue is paused, so the first cycle under a new lease replays nothing.
        """
        known = self.in_flight.unsettled(intent.intent_id)
        age = cycle.now - intent.created_at
        if age < UNANSWERED_GRACE if known is None else not is_due(known.next_at, cycle.now, longest=SETTLE_LAST):
            return None
        replayable = self.policy.launch_enabled and age < self.policy.bindable_age
        if replayable and cycle.paused_before is None:
            return None
        answered = known is not None and known.answered
        looks = known is not None and not answered and is_due(known.look_at, cycle.now, longest=SETTLE_LAST)
        settled = self._by_tag(intent, listing, at_least=intent.count) if looks else None
        if settled is not None:
            return settled
        if answered or not self._may_be_replayed(intent, cycle, queues if replayable else frozenset()):
            proves = cycle.now - self._last_asked(intent, cycle) >= NOT_SHOWN_YET
            settled = self._by_tag(intent, listing, at_least=0 if proves else intent.count)
            if settled is None and self.in_flight.unsettled(intent.intent_id) == known:
                self.in_flight.settle_later(intent.intent_id)
        elif self._may_ask(intent, cycle):
            self.in_flight.replay(intent)
        elif looks and self.in_flight.unsettled(intent.intent_id) == known:
            self.in_flight.look_later(intent.intent_id)
        return settled

    def _may_be_replayed(self, intent: Intent, cycle: DispatcherCycle, queues: frozenset[QueueKey]) -> bool:
        """Whether jobs want its VMs, and nobody forbids them. No job waits for a standby VM."""
        if intent.stands_by or self._has_fallen_back(intent, cycle):
            return False
        wanted = set(intent.queues) & (queues - (cycle.paused_before or frozenset()))
        return bool(wanted) and self.in_flight.permission.allows(intent.queues)

    def _last_asked(self, intent: Intent, cycle: DispatcherCycle) -> datetime:
        """When a request of this launch may have been sent last: by this process, or by one that had the lease before.

        That one may have replayed it up to the end of its lease, and nobody replays one that is too old.
        """
        since = self._lease[1] if self._lease is not None else cycle.now
        others = max(intent.created_at, min(since, intent.created_at + self.policy.bindable_age))
        return max(others, self.in_flight.asked(intent.intent_id) or others)

    def _by_tag(self, intent: Intent, listing: Listing, at_least: int = 0) -> Intent | None:
        """What EC2 shows with the launch tag; None when it does not answer or shows too few, which proves nothing.

        Args:
            at_least: the launch's count while a request may still launch some, because it never launches more.
        """
        try:
            shown = listing()
            if isinstance(shown, AgentStackError):
                raise shown
            vms = tuple(vm for vm in shown if vm.intent_id == intent.intent_id)
            settled = replace(intent, spent=True, vms=vms)
            if len(settled.vms) < at_least:
                return None
            self.ledger.spend_intent(settled)
        except AgentStackError as error:
            self.telemetry.info("intent_unsettled", intent_id=intent.intent_id, error=str(error))
            self.in_flight.settle_later(intent.intent_id)
            return None
        self.in_flight.settled(intent.intent_id)
        self.telemetry.info("intent_settled", intent_id=intent.intent_id, count=len(settled.vms))
        return settled

    def _has_fallen_back(self, intent: Intent, cycle: DispatcherCycle) -> bool:
        """Whether its class is asked for on-demand meanwhile, so that a VM of this launch would be one too many."""
        return intent.capacity_type is CapacityType.SPOT and self.capacity.under(cycle.fence).falls_back(
            intent.class_name, intent.capacity_type, cycle.now
        )

    def _may_ask(self, intent: Intent, cycle: DispatcherCycle) -> bool:
        kind = intent.capacity_type
        memory = self.capacity.under(cycle.fence)
        on_their_way = self.in_flight.of_failing_classes(memory)
        return kind is None or memory.may_ask(intent.class_name, kind, cycle.now, on_their_way=on_their_way)

    def _is_replayed(self, intent: Intent) -> bool:
        return any(one.intent_id == intent.intent_id for one in self.in_flight.intents)

    def _listing(self, cycle: DispatcherCycle) -> Sequence[Vm] | AgentStackError:
        """EC2's list, or why there is none. All launches of a cycle share one, because it may take several requests."""
        try:
            return self.prefetch.result(cycle)
        except AgentStackError as error:
            return error


def _by_class(intents: Iterable[Intent]) -> Counter[ClassName]:
    """How many VMs of each class they asked for."""
    found = Counter[ClassName]()
    for intent in intents:
        found[intent.class_name] += intent.count
    return found
