"""Launch: one EC2 request for all jobs of one class.

The intent is written first, under the lease's fencing number. If we die between writing and asking, or asking
and recording, the next tick finds the open intent and learns what came of it (`resume`).
"""

from collections import defaultdict, deque
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from agent_stack.domain.classes import VmClass
from agent_stack.domain.errors import AgentStackError, BugError, GiveUpError, UnknownOutcomeError
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.launching import Intent, LaunchOrder
from agent_stack.domain.policy import Policy
from agent_stack.domain.runs import Run
from agent_stack.domain.states import UP
from agent_stack.domain.vms import Vm
from agent_stack.ports import Fleet, Ids, Ledger, Telemetry
from agent_stack.stages.ticks import DispatcherTick

MINUTE = timedelta(minutes=1)


@dataclass(slots=True, kw_only=True)
class Launch:
    """Asks EC2 for as many VMs as there are ready runs without an idle VM, class by class, within the brakes."""

    fleet: Fleet
    ledger: Ledger
    ids: Ids
    policy: Policy
    telemetry: Telemetry
    _asked: deque[tuple[datetime, int]] = field(default_factory=deque, init=False)

    def __call__(self, tick: DispatcherTick) -> DispatcherTick:
        """Adds the new VMs to `idle_vms`."""
        if tick.book is None:
            raise BugError("launch needs the classes; resume reads them")
        by_class: dict[ClassName, list[Run]] = defaultdict(list)
        for run in tick.ready:
            by_class[run.class_name].append(run)
        idle = dict(tick.idle_vms)
        wanted = sum(max(0, len(runs) - len(idle.get(name, ()))) for name, runs in by_class.items())
        room = self._room(tick) if wanted and self.policy.launch_enabled else 0
        for name, runs in by_class.items():
            missing = len(runs) - len(idle.get(name, ()))
            vm_class = tick.book.classes.get(name)
            if missing > room:
                self.telemetry.info("launches_held_back", class_name=name, count=missing - max(0, room))
            count = min(missing, room)
            if count > 0 and vm_class is not None:
                room -= count
                self._asked.append((tick.now, count))
                idle[name] = (*idle.get(name, ()), *self._launch(vm_class, runs, count, tick))
        self._give_up_late(tick, idle)
        return replace(tick, idle_vms=idle)

    def _room(self, tick: DispatcherTick) -> int:
        """How many VMs may be asked for: up to the maximum at once, and to the most in any minute.

        What is up is for EC2 to say: VMs of runs that ended, or that nobody will ever be bound to, take their place too
        until they are gone. VMs that EC2 does not show yet are added from our own records. While EC2 does not say,
        nothing is launched: the next tick asks again. The minute counts what this process asked for, and the VMs of
        active runs, which a process before it may have.
        """
        try:
            shown = {vm.instance_id: vm.state for vm in self.fleet.describe()}
        except AgentStackError as error:
            self.telemetry.warning("vms_unknown", error=str(error))
            return 0
        while self._asked and tick.now - self._asked[0][0] >= MINUTE:
            self._asked.popleft()
        bound = [run.binding for run in tick.active if run.binding is not None]
        idle = {vm.instance_id for vms in tick.idle_vms.values() for vm in vms}
        ours = {binding.instance_id for binding in bound} | idle
        up = {vm for vm, state in shown.items() if state in UP}
        asked = sum(count for _, count in self._asked)
        fresh = sum(tick.now - binding.launched_at < MINUTE for binding in bound)
        return min(
            self.policy.max_instances - len(up | (ours - shown.keys())) - tick.unsettled,
            self.policy.max_launches_per_minute - max(asked, fresh + len(idle) + tick.unsettled),
        )

    def _launch(self, vm_class: VmClass, runs: list[Run], count: int, tick: DispatcherTick) -> tuple[Vm, ...]:
        order = LaunchOrder(intent_id=self.ids.intent_id(), vm_class=vm_class, count=count)
        intent = Intent(
            intent_id=order.intent_id,
            class_name=vm_class.name,
            request=self.fleet.render(order),
            count=count,
            queues=tuple(sorted({run.queue_key for run in runs})),
            created_at=tick.now,
        )
        try:
            self.ledger.write_intent(intent, fence=tick.fence)
        except GiveUpError:
            self.telemetry.warning("lease_lost_before_launch", class_name=vm_class.name, count=count)
            return ()
        try:
            outcome = self.fleet.launch(intent.request)
        except UnknownOutcomeError as error:
            # The next tick settles it; asking for more now could launch twice as many as are needed.
            self.telemetry.warning("launch_unknown", class_name=vm_class.name, count=count, error=str(error))
            return ()
        except AgentStackError as error:
            self.telemetry.error("launch_failed", class_name=vm_class.name, count=count, error=str(error))
            self.ledger.close_intent(intent.intent_id)
            return ()
        self.ledger.spend_intent(replace(intent, spent=True, vms=outcome.vms))
        for partial in outcome.errors:
            self.telemetry.warning(
                "launch_partial",
                class_name=vm_class.name,
                error_class=partial.error_class,
                code=partial.code,
                pool=partial.pool,
                error=partial.message,
            )
        self.telemetry.info(
            "vms_launched", class_name=vm_class.name, count=len(outcome.vms), intent_id=intent.intent_id
        )
        return outcome.vms

    def _give_up_late(self, tick: DispatcherTick, idle: dict[ClassName, tuple[Vm, ...]]) -> None:
        """Jobs that found no VM within the deadline get a reason; the tracker finishes them with it."""
        late = [
            run.giving_up(
                f"No VM of class “{run.class_name}” could be had within "
                f"{round(self.policy.launch_deadline.total_seconds())} s."
            )
            for run in tick.ready
            if not idle.get(run.class_name) and tick.now - run.state_entered_at >= self.policy.launch_deadline
        ]
        for run in self.ledger.update(late):
            self.telemetry.error("job_given_up", job_id=run.job_id, reason=run.give_up)
