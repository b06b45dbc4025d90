"""Observe: reads EC2, the ledger, Buildkite and the mailboxes, and marks facts that it could not read as unknown.

The order matters. EC2 comes before the ledger: a VM without a run in the ledger then had no run when EC2 showed it. Job
states come before mailboxes: an agent can only have a job after its VM took the credential. So when a job has an agent,
its mailbox already shows that the VM took the credential.

EC2 lists the VMs that have not ended. The tracker looks up a run's VM by its id when this list does not have it,
because only EC2's definite answer shows that a VM has ended. A VM in neither answer is missing, which proves nothing
(`missing_vms`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from agent_stack.domain.classes import base_name
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId
from agent_stack.domain.policy import Policy
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import Situation
from agent_stack.domain.states import GOING, OVER, CapacityType, JobState, RunState
from agent_stack.domain.vms import MailboxStatus, Vm
from agent_stack.outages import Outages
from agent_stack.ports import ClassSource, Fleet, Ledger, Mailbox, StacksApi, Telemetry
from agent_stack.tracker.cycle import TrackerCycle
from agent_stack.tracker.job_states import job_states
from agent_stack.tracker.missing_vms import MissingVms
from agent_stack.tracker.standby_watch import StandbyWatch
from agent_stack.tracker.status_checks import StatusChecks
from agent_stack.tracker.unnamed_jobs import UnnamedJobs

DEFAULT_BOOT_TIMEOUT = timedelta(minutes=5)
"""For runs whose class the operator has removed."""

_LIST, _BY_ID, _MAILBOXES = "EC2's list", "EC2's answers by id", "mailboxes"
"""What may fail, beside the queues' job states; no queue key has a space or an apostrophe."""


def _has_last_words(run: Run, vms: Mapping[InstanceId, Vm], job_state: JobState | None) -> bool:
    """Whether the VM of a job that an agent had may have reported its end.

    Read for people and a metric: a job can forge these words, so nothing is decided on them. Mailboxes of jobs that go
    on are not read, because that would cost each cycle.
    """
    vm = vms.get(run.binding.instance_id) if run.binding is not None else None
    return vm is not None and (vm.state in GOING or (job_state in OVER and vm.capacity_type is CapacityType.SPOT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Observe:
    """Reads each source once. When a source fails, its facts are unknown, never empty."""

    fleet: Fleet
    ledger: Ledger
    stacks: StacksApi
    mailbox: Mailbox
    classes: ClassSource
    missing_vms: MissingVms
    unnamed_jobs: UnnamedJobs
    checks: StatusChecks
    standby: StandbyWatch
    policy: Policy
    telemetry: Telemetry
    outages: Outages = field(default_factory=Outages)

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Fills `described`, `vms`, `standby` and `situations`."""
        vms, described = self._vms()
        runs = self.ledger.active_runs()
        unknown: frozenset[InstanceId] = frozenset()
        if described:
            ended, unknown = self._missing(runs, vms)
            vms |= ended
            self.checks.looked_at(vms.values(), runs, cycle.now)
        answers = job_states(runs, self.stacks, self.telemetry, self.outages)
        forgotten = self.unnamed_jobs.record(runs, answers, cycle.now)
        mailbox_statuses = self._mailbox_statuses(
            [
                run
                for run in runs
                if run.state is RunState.BOOTING
                or (run.state is RunState.RUNNING and _has_last_words(run, vms, answers.states.get(run.job_id)))
            ]
        )
        timeouts = self._boot_timeouts()
        situations = tuple(
            Situation(
                run=run,
                vm=vms.get(run.binding.instance_id) if run.binding else None,
                described=described and (run.binding is None or run.binding.instance_id not in unknown),
                job_state=answers.states.get(run.job_id),
                forgotten=run.job_id in forgotten,
                mailbox_status=mailbox_statuses.get(run.binding.arn) if run.binding else None,
                boot_timeout=timeouts.get(base_name(run.class_name), DEFAULT_BOOT_TIMEOUT),
                policy=self.policy,
                now=cycle.now,
            )
            for run in runs
        )
        standby = self.standby(vms.values(), runs, cycle.now)
        return replace(cycle, described=described, vms=vms, standby=standby, situations=situations)

    def _vms(self) -> tuple[dict[InstanceId, Vm], bool]:
        try:
            vms = {vm.instance_id: vm for vm in self.fleet.describe()}
        except AgentStackError as error:
            self.outages.passing(_LIST, self.telemetry, "vms_unknown", error=str(error))
            return {}, False
        self.outages.is_over(_LIST)
        return vms, True

    def _missing(
        self, runs: Sequence[Run], vms: Mapping[InstanceId, Vm]
    ) -> tuple[dict[InstanceId, Vm], frozenset[InstanceId]]:
        """Runs' VMs that EC2's list does not have: the VMs found by id, and the ids whose state is unknown."""
        bound = {run.binding.instance_id for run in runs if run.binding is not None}
        absent = sorted(bound - vms.keys())
        due = self.missing_vms.record_missing(absent)
        try:
            shown = {vm.instance_id: vm for vm in self.fleet.describe_by_id(due)} if due else {}
        except AgentStackError as error:
            self.outages.passing(_BY_ID, self.telemetry, "absent_vms_unknown", count=len(due), error=str(error))
            return {}, frozenset(absent)
        if due:
            self.outages.is_over(_BY_ID)
        self.missing_vms.forget(shown)
        return shown, frozenset(absent).difference(due)

    def _mailbox_statuses(self, worth_reading: list[Run]) -> dict[InstanceArn, MailboxStatus]:
        arns = [run.binding.arn for run in worth_reading if run.binding is not None]
        if not arns:
            return {}
        try:
            found = dict(self.mailbox.read(arns))
        except AgentStackError as error:
            self.outages.passing(_MAILBOXES, self.telemetry, "mailboxes_unknown", count=len(arns), error=str(error))
            return {}
        self.outages.is_over(_MAILBOXES)
        return found

    def _boot_timeouts(self) -> dict[ClassName, timedelta]:
        try:
            return {name: vm_class.boot_timeout for name, vm_class in self.classes.book().classes.items()}
        except AgentStackError as error:
            self.telemetry.error("classes_unreadable", error=str(error))
            return {}
