"""Launch: ask EC2 for VMs, class by class, in as few requests as possible, and learn from what it answers.

The intent is written first, under the lease's fencing number. If we die between writing and asking, or asking and
recording, the next tick finds the open intent and learns what came of it (`resume`). Requests run beside the ticks
(`launches`); a tick collects what was answered since the last one, and asks other pools, or the other market, for what
is missing still.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from agent_stack.domain.attempts import elsewhere
from agent_stack.domain.capacity import LaunchMemory, choose_market
from agent_stack.domain.classes import ClassBook, VmClass
from agent_stack.domain.errors import AgentStackError, BugError, GiveUpError, UnknownOutcomeError
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.launching import MAX_VMS_OF_A_LAUNCH, Intent, LaunchErrorClass, LaunchOrder, LaunchOutcome
from agent_stack.domain.measures import Metric
from agent_stack.domain.policy import Policy
from agent_stack.domain.runs import Run
from agent_stack.domain.states import UP, Market
from agent_stack.domain.vms import Vm
from agent_stack.ports import Fleet, Ids, Ledger, Telemetry
from agent_stack.stages.launches import Answer, Launches
from agent_stack.stages.publish_program import PublishProgram
from agent_stack.stages.ticks import DispatcherTick
from agent_stack.stages.token_supply import TokenSupply

MINUTE = timedelta(minutes=1)

BROKEN_GRACE = timedelta(seconds=60)
"""How long jobs wait for an operator to mend what EC2 calls wrong before they are finished with EC2's message."""

FOR_AN_OPERATOR = frozenset({LaunchErrorClass.ACCOUNT, LaunchErrorClass.CONFIGURATION, LaunchErrorClass.UNRECOGNISED})
"""Errors that waiting does not mend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Asks for as many VMs as there are ready runs without an idle VM or one under way, within the brakes."""

    fleet: Fleet
    ledger: Ledger
    launches: Launches
    program: PublishProgram
    tokens: TokenSupply
    ids: Ids
    policy: Policy
    telemetry: Telemetry

    def __call__(self, tick: DispatcherTick) -> DispatcherTick:
        """Adds new VMs to `idle_vms`; fills `launching`."""
        if tick.book is None:
            raise BugError("launch needs the classes; resume reads them")
        if not tick.ready and not self.launches.under_way:
            self.launches.forget_look()
            self.launches.wanted = 0
            return tick
        memory = self.launches.memory(tick.fence)
        answers = self.launches.collect()
        learnt, idle, doubtful = self._taken_in(answers, memory, tick)
        wanted = self._wanted(tick, idle, doubtful, learnt)
        self.launches.wanted = sum(len(runs) for runs in wanted.values())
        if wanted and self.policy.launch_enabled and not self.tokens.down(tick.now) and self.program.done(tick.now):
            unsettled = tick.unsettled + sum(intent.count for intent in doubtful)
            learnt = self._ask(wanted, learnt, replace(tick, idle_vms=idle, unsettled=unsettled), tick.book)
        self.launches.forget_look()  # it is of this tick; the next one's must know of what was launched now
        self.launches.record(answers)  # after the next requests are out: that is who waits
        if learnt != memory:
            self.launches.remember(learnt, tick.fence)
        self._give_up_late(tick, idle, learnt)
        return replace(tick, idle_vms=idle, launching=sum(intent.count for intent in self.launches.under_way))

    # --- what EC2 has answered ---

    def _taken_in(
        self, answers: Sequence[Answer], memory: LaunchMemory, tick: DispatcherTick
    ) -> tuple[LaunchMemory, dict[ClassName, tuple[Vm, ...]], list[Intent]]:
        """What was learnt, the idle VMs with the new ones, and the launches of which nobody knows what came."""
        idle = dict(tick.idle_vms)
        doubtful: list[Intent] = []
        for intent, answer in answers:
            if isinstance(answer, LaunchOutcome):
                self._say(intent, answer)
                name = intent.class_name
                memory = memory.answered(
                    name,
                    launched=len(answer.vms),
                    errors=answer.errors,
                    now=tick.now,
                    jitter=self.ids.fraction(),
                )
                idle[name] = (*idle.get(name, ()), *answer.vms)
            elif isinstance(answer, UnknownOutcomeError):
                # The next tick settles it; asking for more now could launch twice as many as are needed.
                doubtful.append(intent)
                self._warn("launch_unknown", intent, answer)
            else:
                self._warn("launch_failed", intent, answer)
                memory = memory.throttled(tick.now, self.ids.fraction())  # or was not reached; both want a pause
        return memory, idle, doubtful

    # --- what is asked for now ---

    def _wanted(
        self,
        tick: DispatcherTick,
        idle: Mapping[ClassName, tuple[Vm, ...]],
        doubtful: Sequence[Intent],
        memory: LaunchMemory,
    ) -> dict[ClassName, list[Run]]:
        """Runs that neither an idle VM nor one that may be coming will serve, by class, in order of their priority."""
        coming = Counter(tick.expected)
        for intent in (*self.launches.under_way, *doubtful):
            coming[intent.class_name] += intent.count
        by_class: dict[ClassName, list[Run]] = defaultdict(list)
        for run in tick.ready:
            if memory.breaker(run.class_name, tick.now) is None:
                by_class[run.class_name].append(run)
        missing = {name: runs[len(idle.get(name, ())) + coming[name] :] for name, runs in by_class.items()}
        return {name: runs for name, runs in missing.items() if runs}

    def _ask(
        self, wanted: Mapping[ClassName, list[Run]], memory: LaunchMemory, tick: DispatcherTick, book: ClassBook
    ) -> LaunchMemory:
        if not memory.worth_asking(self.launches.wanted, self.policy.instance_budget, tick.now):
            paused = "launches_paused" if memory.paused(tick.now) else "launches_held_back"
            self.telemetry.info(paused, count=self.launches.wanted)
            return memory
        room = self._room(tick, memory)
        for name, runs in wanted.items():
            vm_class = book.find(name)
            if vm_class is None:
                continue
            requests = memory.requests_left(tick.now)
            count = min(len(runs), room, requests * MAX_VMS_OF_A_LAUNCH)
            if count < len(runs):
                self.telemetry.info("launches_held_back", class_name=name, count=len(runs) - max(0, count))
            if count <= 0:
                continue
            asked = self._begin(vm_class, runs[:count], memory, tick)
            if asked:
                room -= asked
                requests = -(-asked // MAX_VMS_OF_A_LAUNCH)
                memory = memory.asking(asked, self.policy.instance_budget, tick.now, requests=requests)
        return memory

    def _room(self, tick: DispatcherTick, memory: LaunchMemory) -> int:
        """How many VMs may be asked for: up to the maximum at once, to the most in any minute, to what EC2 grants.

        What is up is for EC2 to say: VMs of runs that ended, or that nobody will ever be bound to, take their place too
        until they are gone. VMs that EC2 does not show yet are added from our own records. While EC2 does not say,
        nothing is launched: the next tick asks again.
        """
        try:
            shown = {vm.instance_id: vm.state for vm in self.launches.seen()}
        except AgentStackError as error:
            self.telemetry.warning("vms_unknown", error=str(error))
            return 0
        bound = [run.binding for run in tick.active if run.binding is not None]
        idle = {vm.instance_id for vms in tick.idle_vms.values() for vm in vms}
        ours = {binding.instance_id for binding in bound} | idle
        up = {vm for vm, state in shown.items() if state in UP}
        coming = tick.unsettled + sum(intent.count for intent in self.launches.under_way)
        fresh = sum(tick.now - binding.launched_at < MINUTE for binding in bound)
        return min(
            self.policy.max_instances - len(up | (ours - shown.keys())) - coming,
            self.policy.max_launches_per_minute
            - max(memory.asked_within_a_minute(tick.now), fresh + len(idle) + coming),
            memory.granted(self.policy.instance_budget, tick.now),
        )

    def _begin(self, vm_class: VmClass, runs: list[Run], memory: LaunchMemory, tick: DispatcherTick) -> int:
        """Write and send the requests for these runs; for how many VMs."""
        resting = memory.resting(tick.now)
        try:
            markets = {vm_class.market, Market.ON_DEMAND} if vm_class.fallback else {vm_class.market}
            pools = {market: self.fleet.pools(vm_class, market) for market in markets}
        except AgentStackError as error:
            self.telemetry.warning("pools_unknown", class_name=vm_class.name, error=str(error))
            return 0
        market = choose_market(vm_class, pools, resting)
        if market is None:
            self.telemetry.info("pools_resting", class_name=vm_class.name, count=len(runs))
            return 0
        pools_open = elsewhere(
            [pool for pool in pools[market] if pool not in resting], (run.tried[-1].pool for run in runs if run.tried)
        )
        asked = 0
        for start in range(0, len(runs), MAX_VMS_OF_A_LAUNCH):
            chunk = runs[start : start + MAX_VMS_OF_A_LAUNCH]
            order = LaunchOrder(
                intent_id=self.ids.intent_id(), vm_class=vm_class, count=len(chunk), market=market, pools=pools_open
            )
            if not self._send(order, chunk, tick):
                break
            asked += len(chunk)
        return asked

    def _send(self, order: LaunchOrder, runs: Iterable[Run], tick: DispatcherTick) -> bool:
        intent = Intent(
            intent_id=order.intent_id,
            class_name=order.vm_class.name,
            request=self.fleet.render(order),
            count=order.count,
            queues=tuple(sorted({run.queue_key for run in runs})),
            created_at=tick.now,
        )
        try:
            self.ledger.write_intent(intent, fence=tick.fence)
        except GiveUpError:
            self.telemetry.warning("lease_lost_before_launch", class_name=intent.class_name, count=intent.count)
            return False
        self.launches.begin(intent)
        self.telemetry.count(Metric.VMS_ASKED_FOR, intent.count)
        self.telemetry.info(
            "vms_asked_for", class_name=intent.class_name, count=intent.count, intent_id=intent.intent_id
        )
        return True

    # --- those who go without ---

    def _give_up_late(
        self, tick: DispatcherTick, idle: Mapping[ClassName, tuple[Vm, ...]], memory: LaunchMemory
    ) -> None:
        """Jobs that found no VM within the deadline get a reason; the tracker finishes them with it."""
        late = []
        for run in tick.ready:
            if idle.get(run.class_name):
                continue
            waited = tick.now - run.state_entered_at
            breaker = memory.breaker(run.class_name, tick.now)
            if breaker is not None and waited >= BROKEN_GRACE and tick.now - breaker.since >= BROKEN_GRACE:
                late.append(run.giving_up(f"No VM of class “{run.class_name}” can be launched: {breaker.message}"))
            elif waited >= self.policy.launch_deadline:
                seconds = round(self.policy.launch_deadline.total_seconds())
                words = memory.last_words.get(run.class_name)
                because = f" EC2 said last: {words}" if words else ""
                late.append(
                    run.giving_up(f"No VM of class “{run.class_name}” could be had within {seconds} s.{because}")
                )
        for run in self.ledger.update(late):
            self.telemetry.error("job_given_up", job_id=run.job_id, reason=run.give_up)

    # --- what an operator sees ---

    def _say(self, intent: Intent, outcome: LaunchOutcome) -> None:
        for partial in outcome.errors:
            say = self.telemetry.error if partial.error_class in FOR_AN_OPERATOR else self.telemetry.warning
            say(
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

    def _warn(self, message: str, intent: Intent, error: AgentStackError) -> None:
        self.telemetry.warning(message, class_name=intent.class_name, count=intent.count, error=str(error))
