"""Observe: gather what EC2, the ledger, Buildkite and the mailboxes say, and know what is not known.

The order is part of the design. EC2 first, ledger second: a VM whose run we cannot find was then certainly not
bound when EC2 showed it. Job states before mailboxes: an agent can only have a job whose credential was taken
before, so a job that shows an agent has a mailbox that shows who took it.

EC2 is asked for what lives. A run's VM that is not among that is asked for by its id, for only EC2's word that it
ended counts; while EC2 shows it in neither answer it is absent, which proves nothing (`absences`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from agent_stack.domain.classes import base_name
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId
from agent_stack.domain.policy import Policy
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import Situation
from agent_stack.domain.states import RunState
from agent_stack.domain.vms import MailboxStatus, Vm
from agent_stack.ports import ClassSource, Fleet, Ledger, Mailbox, StacksApi, Telemetry
from agent_stack.tracker.cycle import TrackerCycle
from agent_stack.tracker.job_states import job_states
from agent_stack.tracker.missing_vms import MissingVms
from agent_stack.tracker.status_checks import StatusChecks

DEFAULT_BOOT_TIMEOUT = timedelta(minutes=5)
"""For runs whose class the operator has removed since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observe:
    """Reads everything once. A source that fails leaves its facts unknown, never empty."""

    fleet: Fleet
    ledger: Ledger
    stacks: StacksApi
    mailbox: Mailbox
    classes: ClassSource
    missing_vms: MissingVms
    checks: StatusChecks
    policy: Policy
    telemetry: Telemetry

    def __call__(self, cycle: TrackerCycle) -> TrackerCycle:
        """Fills `described`, `vms` and `situations`."""
        vms, described = self._vms()
        runs = self.ledger.active_runs()
        unknown: frozenset[InstanceId] = frozenset()
        if described:
            ended, unknown = self._not_living(runs, vms)
            vms |= ended
            self.checks.looked_at(vms.values(), runs, cycle.now)
        states = job_states(runs, self.stacks, self.telemetry)
        mailbox_statuses = self._mails([run for run in runs if run.state is RunState.BOOTING])
        timeouts = self._boot_timeouts()
        situations = tuple(
            Situation(
                run=run,
                vm=vms.get(run.binding.instance_id) if run.binding else None,
                described=described and (run.binding is None or run.binding.instance_id not in unknown),
                job_state=states.get(run.job_id),
                mailbox_status=mailbox_statuses.get(run.binding.arn) if run.binding else None,
                boot_timeout=timeouts.get(base_name(run.class_name), DEFAULT_BOOT_TIMEOUT),
                policy=self.policy,
                now=cycle.now,
            )
            for run in runs
        )
        return replace(cycle, described=described, vms=vms, situations=situations)

    def _vms(self) -> tuple[dict[InstanceId, Vm], bool]:
        try:
            return {vm.instance_id: vm for vm in self.fleet.describe()}, True
        except AgentStackError as error:
            self.telemetry.warning("vms_unknown", error=str(error))
            return {}, False

    def _not_living(
        self, runs: Sequence[Run], vms: Mapping[InstanceId, Vm]
    ) -> tuple[dict[InstanceId, Vm], frozenset[InstanceId]]:
        """The runs' VMs that EC2 did not show among the living: those it shows by their ids, and those not known."""
        bound = {run.binding.instance_id for run in runs if run.binding is not None}
        absent = sorted(bound - vms.keys())
        wanted = self.missing_vms.record_missing(absent)
        try:
            shown = {vm.instance_id: vm for vm in self.fleet.describe_by_id(wanted)} if wanted else {}
        except AgentStackError as error:
            self.telemetry.warning("absent_vms_unknown", count=len(wanted), error=str(error))
            return {}, frozenset(absent)
        self.missing_vms.forget(shown)
        return shown, frozenset(absent).difference(wanted)

    def _mails(self, booting: list[Run]) -> dict[InstanceArn, MailboxStatus]:
        arns = [run.binding.arn for run in booting if run.binding is not None]
        if not arns:
            return {}
        try:
            return dict(self.mailbox.read(arns))
        except AgentStackError as error:
            self.telemetry.warning("mailboxes_unknown", count=len(arns), error=str(error))
            return {}

    def _boot_timeouts(self) -> dict[ClassName, timedelta]:
        try:
            return {name: vm_class.boot_timeout for name, vm_class in self.classes.book().classes.items()}
        except AgentStackError as error:
            self.telemetry.error("classes_unreadable", error=str(error))
            return {}
