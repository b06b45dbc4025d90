"""Surplus VMs: VMs of a known launch that no job waits for any more, because their jobs were cancelled or released.

A launch that is recorded in the ledger explains its VMs, and a VM without a mailbox never got a job. So such a VM ends
without the grace for VMs that the ledger may have lost, and says nothing against the ledger. The dispatcher binds the
oldest VMs of a class first, so the youngest are the surplus.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import ClassName, InstanceId
from agent_stack.domain.runs import Run
from agent_stack.domain.states import UP, RunState
from agent_stack.domain.vms import Vm
from agent_stack.outages import Outages
from agent_stack.ports import Ledger, Mailbox, Telemetry
from agent_stack.tracker.cycle import TrackerCycle

SURPLUS_AFTER = timedelta(seconds=10)
"""How long no job may wait for a VM. A job that comes in that time gets it; a dispatcher needs one cycle to bind it."""

_MAILBOXES = "mailboxes"


@dataclass(slots=True, kw_only=True)
class SurplusVms:
    """Finds them; `orphan_cleanup` ends them."""

    ledger: Ledger
    mailbox: Mailbox
    telemetry: Telemetry
    _since: dict[InstanceId, datetime] = field(default_factory=dict, init=False, repr=False)
    """When this process first saw that no job waits for the VM."""
    _outages: Outages = field(default_factory=Outages, init=False, repr=False)

    def __call__(self, cycle: TrackerCycle, owned: Collection[InstanceId]) -> list[Vm]:
        """The VMs that are surplus for long enough. An error of the ledger or the mailboxes means none."""
        unowned = [
            vm
            for vm in cycle.vms.values()
            if vm.state in UP
            and vm.hold is None  # the dispatcher knows how many of the others are wanted
            and vm.instance_id not in owned
            and vm.instance_id not in cycle.going
        ]
        surplus = self._youngest(unowned, _live_runs(cycle)) if unowned else []
        # A clock that is set back begins the time anew: a moment in the future would keep the VM for long.
        self._since = {vm.instance_id: min(self._since.get(vm.instance_id, cycle.now), cycle.now) for vm in surplus}
        due = [vm for vm in surplus if cycle.now - self._since[vm.instance_id] >= SURPLUS_AFTER]
        return self._never_bound(due) if due else []

    def explained(self, vms: Iterable[Vm]) -> frozenset[InstanceId]:
        """Those that belong to a recorded launch and never got a job."""
        launched = {intent.intent_id for intent in self.ledger.open_intents()}
        return frozenset(vm.instance_id for vm in self._never_bound([vm for vm in vms if vm.intent_id in launched]))

    def _youngest(self, unowned: Iterable[Vm], runs: Iterable[Run]) -> list[Vm]:
        """Of each class, the VMs beyond the runs that wait for one."""
        classes = {intent.intent_id: intent.class_name for intent in self.ledger.open_intents()}
        waiting = Counter(run.class_name for run in runs if run.state is RunState.RESERVED and not run.failure_reason)
        by_class: dict[ClassName, list[Vm]] = defaultdict(list)
        for vm in sorted(unowned, key=lambda vm: (vm.launched_at, vm.instance_id)):
            if vm.intent_id in classes:
                by_class[classes[vm.intent_id]].append(vm)
        return [vm for name, vms in by_class.items() for vm in vms[waiting[name] :]]

    def _never_bound(self, vms: list[Vm]) -> list[Vm]:
        """Those without an assignment. A VM that has one may have a job that only a damaged ledger does not show."""
        if not vms:
            return []
        try:
            bound = self.mailbox.read([vm.arn for vm in vms])
        except AgentStackError as error:
            self._outages.passing(_MAILBOXES, self.telemetry, "mailboxes_unknown", count=len(vms), error=str(error))
            return []
        self._outages.is_over(_MAILBOXES)
        return [vm for vm in vms if vm.arn not in bound or bound[vm.arn].closed]


def _live_runs(cycle: TrackerCycle) -> list[Run]:
    """The runs that have not ended, as this cycle left them."""
    latest = {verdict.run.job_id: verdict.run for verdict in cycle.verdicts.values()}
    runs = (latest.get(s.run.job_id, s.run) for s in cycle.situations)
    return [run for run in runs if run.state is not RunState.ENDED]
