"""Hold failed VMs: keeps a few VMs up whose boot failed, so that a person can look into them (HoldOnFailureMinutes).

The step only spares the VM. The run goes on in the same cycle as though the VM had ended: its job gets another VM, or
is finished. The VM is told of its hold by its mailbox, once no active run has it. A VM that is told nothing powers
itself off within two minutes; one that is told ends itself at the same time at which `orphan_cleanup` ends it.

Jobs come first: while all places are taken, or a job waits for room, no VM is held, and held VMs end. The dispatcher
lists its waiting jobs once a minute, and held VMs keep no tracker busy; so that may take two minutes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from agent_stack.domain.classes import base_name
from agent_stack.domain.decisions import Action
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.holds import Hold, Holds, hold_end, may_be_held
from agent_stack.domain.identifiers import InstanceId
from agent_stack.domain.notices import vm_held
from agent_stack.domain.policy import Policy
from agent_stack.domain.states import GOING, UP, CredentialHolder, RunState
from agent_stack.domain.waiting import WaitReason
from agent_stack.outages import Outages
from agent_stack.ports import Fleet, Ledger, Mailbox, Telemetry
from agent_stack.tracker.cycle import TrackerCycle, Verdict

WANT_OF_ROOM = frozenset({WaitReason.MAX_INSTANCES, WaitReason.QUOTA})
"""Why jobs wait that a held VM may be in the way of. `MaxVcpus` and a class's maximum do not count it."""

_HOLDS, _VMS, _JOBS, _RECORD = "holds", "held VMs", "waiting jobs", "record of holds"


class Need(Enum):
    """Whether jobs need the room that held VMs take."""

    NONE = auto()
    SURE = auto()
    UNKNOWN = auto()  # it ends no hold, and begins none


@dataclass(slots=True, kw_only=True)
class HoldFailedVms:
    """Decides which VMs are held, and tells them."""

    fleet: Fleet
    ledger: Ledger
    mailbox: Mailbox
    policy: Policy
    telemetry: Telemetry
    _told: frozenset[InstanceId] = field(default=frozenset(), init=False, repr=False)
    """The VMs that this process told of their hold. A new process tells them again, which changes nothing."""
    _outages: Outages = field(default_factory=Outages, init=False, repr=False)

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Fills `held` and `resting`; adds a notice to the `verdicts` of VMs that are held from now on."""
        candidates = [v for v in cycle.verdicts.values() if may_be_held(v.situation, v.decision)]
        if not candidates and not self._any_may_be_held(cycle):
            return replace(cycle, held={})
        try:
            known = self.ledger.holds()
        except AgentStackError as error:  # a hold is a convenience: it stops nothing
            self._outages.passing(_HOLDS, self.telemetry, "holds_unknown", error=str(error))
            return replace(cycle, held=None)
        self._outages.is_over(_HOLDS)
        left = known.without(self._ended(known, cycle))
        need = self._need_of_room(cycle) if left.vms or candidates else Need.NONE
        if need is Need.SURE:
            left = left.ending_at(cycle.now)
        added = self._chosen(candidates, left) if need is Need.NONE else []
        for _, hold in added:
            left = left.adding(hold)
        recorded = left if left == known else self._record(left, known)
        spared = {hold.instance_id: hold for hold in recorded.vms}
        verdicts = dict(cycle.verdicts)
        for verdict, hold in added:
            if hold.instance_id in spared:
                verdicts[verdict.run.job_id] = self._announced(verdict, hold)
        return replace(cycle, held=spared, resting=self._tell(recorded, cycle), verdicts=verdicts)

    def _any_may_be_held(self, cycle: TrackerCycle) -> bool:
        """Whether a VM is up that no run has, or only a run that was not settled after its hold was recorded.

        Where nothing is held any more, only a VM that is no fresh launch.
        """
        owned = {s.run.binding.instance_id for s in cycle.situations if s.run.binding is not None}
        unsettled = any(
            s.run.finishing_at is not None
            or (s.run.state is RunState.BOOTING and s.run.credential_holder is CredentialHolder.TRACKER)
            for s in cycle.situations
        )
        holds = self.policy.hold_on_failure
        return (bool(holds) and unsettled) or any(
            vm.state in UP
            and vm.instance_id not in owned
            and not cycle.stands_by(vm)
            and (bool(holds) or cycle.now - vm.launched_at > self.policy.orphan_grace)
            for vm in cycle.vms.values()
        )

    def _ended(self, known: Holds, cycle: TrackerCycle) -> frozenset[InstanceId]:
        """Held VMs that are no more, by EC2's definite answer; or that EC2 does not show after their time."""
        if not cycle.described:
            return frozenset()
        hidden = [hold.instance_id for hold in known.vms if hold.instance_id not in cycle.vms]
        try:
            shown = {vm.instance_id: vm for vm in self.fleet.describe_by_id(hidden)} if hidden else {}
        except AgentStackError as error:
            self._outages.passing(_VMS, self.telemetry, "held_vms_unknown", count=len(hidden), error=str(error))
            return frozenset()
        self._outages.is_over(_VMS)
        ended: set[InstanceId] = set()
        for hold in known.vms:
            vm = cycle.vms.get(hold.instance_id) or shown.get(hold.instance_id)
            if vm.state in GOING if vm is not None else hold.until <= cycle.now:
                ended.add(hold.instance_id)
        return frozenset(ended)

    def _need_of_room(self, cycle: TrackerCycle) -> Need:
        if sum(vm.state in UP for vm in cycle.vms.values()) >= self.policy.max_instances:
            return Need.SURE
        try:
            waiting = self.ledger.waiting()
        except AgentStackError as error:
            self._outages.passing(_JOBS, self.telemetry, "waiting_jobs_unknown", error=str(error))
            return Need.UNKNOWN
        self._outages.is_over(_JOBS)
        if waiting is not None and any(job.reason in WANT_OF_ROOM for job in waiting.current(cycle.now)):
            return Need.SURE
        return Need.NONE

    def _chosen(self, candidates: Sequence[Verdict], left: Holds) -> list[tuple[Verdict, Hold]]:
        """The VMs that are held from now on: one for each class, as many as there are places."""
        chosen: list[tuple[Verdict, Hold]] = []
        for verdict in candidates:
            s = verdict.situation
            if s.vm is None:
                continue
            name = base_name(s.run.class_name)
            if left.has_place(name):
                hold = Hold(instance_id=s.vm.instance_id, arn=s.vm.arn, class_name=name, until=hold_end(s))
                chosen.append((verdict, hold))
                left = left.adding(hold)
        return chosen

    def _record(self, left: Holds, known: Holds) -> Holds:
        """What is recorded: these; or those known before, when another tracker was first or the write failed."""
        newer = left.next_version()
        try:
            if not self.ledger.record_holds(newer):
                self.telemetry.info("holds_not_recorded", count=len(left.vms))
                return known
        except AgentStackError as error:
            self._outages.passing(_RECORD, self.telemetry, "holds_not_recorded", count=len(left.vms), error=str(error))
            return known
        self._outages.is_over(_RECORD)
        for hold in newer.vms:
            if hold not in known.vms:
                self.telemetry.info(
                    "vm_held", instance_id=hold.instance_id, class_name=hold.class_name, until=hold.until.isoformat()
                )
        return newer

    def _announced(self, verdict: Verdict, hold: Hold) -> Verdict:
        """With a notice, unless the job is finished: then the finish detail says it."""
        if verdict.decision.action is Action.FINISH:
            return verdict
        notice = vm_held(verdict.situation, hold.connect, hold.until)
        return replace(verdict, decision=replace(verdict.decision, notices=(*verdict.decision.notices, notice)))

    def _tell(self, recorded: Holds, cycle: TrackerCycle) -> frozenset[InstanceId]:
        """Tells the held VMs whose runs are settled; those that were told, and whose time is not over."""
        owned = {s.run.binding.instance_id for s in cycle.situations if s.run.binding is not None}
        told: set[InstanceId] = set()
        for hold in recorded.vms:
            left = round((hold.until - cycle.now).total_seconds())
            if hold.instance_id in owned or left <= 0:
                continue
            if hold.instance_id in self._told or self._told_now(hold, left):
                told.add(hold.instance_id)
        self._told = frozenset(told)
        return self._told

    def _told_now(self, hold: Hold, seconds: int) -> bool:
        try:
            told = self.mailbox.hold(hold.arn, seconds)
        except AgentStackError as error:
            self.telemetry.info("hold_not_sent", instance_id=hold.instance_id, error=str(error))
            return False
        if not told:
            self.telemetry.info("hold_not_sent", instance_id=hold.instance_id, error="its credential is not revoked")
        return told
