"""Situations: all that is known of one run at one moment, and the few things that matter in it.

A decision looks at enumerations only: where the job stands, what EC2 shows of the VM, what the VM says of itself, who
holds the credential, and how long the boot has taken. Each is total: what could not be read has a value of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from agent_stack.domain.attempts import SPOT_REASONS
from agent_stack.domain.policy import Policy
from agent_stack.domain.runs import Run
from agent_stack.domain.states import BOOT_FAILED, BootStage, CapacityType, CredentialHolder, JobState, Moment, VmState
from agent_stack.domain.vms import MailboxStatus, Vm

FINISH_SETTLES_AFTER = timedelta(seconds=30)
"""How long after asking Buildkite to finish a job a state that is still ours means the request never arrived.

Longer than the client's total time-out, so no request of ours can still be under way.
"""

STANDBY_TIMEOUT = timedelta(seconds=20)
"""A standby VM is up and prepared, so within a second it has its job's credential, or reports that it lives (before it
reads parameters or logs in to registries, which may take longer). One that does neither is dead."""

ABSENCE_GRACE = timedelta(minutes=10)
"""A fresh instance may be missing from EC2's answers for minutes. Source: EC2's eventual-consistency page."""


class JobPhase(StrEnum):
    """Where a job stands with Buildkite, as far as that matters here."""

    RESERVED = "reserved"  # ours
    LAPSED = "lapsed"  # scheduled: nobody's, and ours to ask for
    AGENT = "agent"  # an agent has it
    CANCELING = "canceling"
    CANCELED = "canceled"
    NEVER_RAN = "never_ran"  # over, and no agent will have had it
    OVER = "over"
    FORGOTTEN = "forgotten"  # several complete answers in a row did not name it, or named an inert state
    UNKNOWN = "unknown"  # not told, or not a state that a job of ours can be in: inert


def job_phase_of(state: JobState | None) -> JobPhase:  # noqa: C901, PLR0911  (one case for each phase)
    """Where a job in that state stands; None is one that could not be had."""
    match state:
        case JobState.RESERVED:
            return JobPhase.RESERVED
        case JobState.SCHEDULED:
            return JobPhase.LAPSED
        case JobState.ASSIGNED | JobState.ACCEPTED | JobState.RUNNING | JobState.TIMING_OUT:
            return JobPhase.AGENT
        case JobState.CANCELING:
            return JobPhase.CANCELING
        case JobState.CANCELED:
            return JobPhase.CANCELED
        case JobState.EXPIRED | JobState.SKIPPED | JobState.BROKEN:
            return JobPhase.NEVER_RAN
        case JobState.FINISHED | JobState.PASSED | JobState.FAILED | JobState.TIMED_OUT:
            return JobPhase.OVER
        case JobState.PENDING | JobState.WAITING | JobState.WAITING_FAILED | JobState.LIMITING | JobState.LIMITED:
            return JobPhase.UNKNOWN
        case JobState.PLATFORM_LIMITING | JobState.PLATFORM_LIMITED:
            return JobPhase.UNKNOWN
        case JobState.BLOCKED | JobState.BLOCKED_FAILED | JobState.UNBLOCKED | JobState.UNBLOCKED_FAILED:
            return JobPhase.UNKNOWN
        case JobState.UNRECOGNISED | None:
            return JobPhase.UNKNOWN


class VmVisibility(StrEnum):
    """What EC2 shows of a VM."""

    UP = "up"  # pending or running
    GOING = "going"  # it will not run a job any more, but its agent may still speak
    GONE = "gone"  # nothing runs there any more
    HIDDEN = "hidden"  # EC2 did not answer in full, or the VM is so fresh that it may not be shown yet
    MISSING = "missing"  # EC2 answered in full and did not show it, long after every fresh VM is shown


def _visibility_of(state: VmState) -> VmVisibility:
    match state:
        case VmState.PENDING | VmState.RUNNING:
            return VmVisibility.UP
        case VmState.SHUTTING_DOWN | VmState.STOPPING:
            return VmVisibility.GOING
        case VmState.STOPPED | VmState.TERMINATED:
            return VmVisibility.GONE
        case VmState.UNRECOGNISED:
            return VmVisibility.HIDDEN


UNSEEN = frozenset({VmVisibility.HIDDEN, VmVisibility.MISSING})


class BootReport(StrEnum):
    """What a VM says of itself, where that matters."""

    NOTHING = "nothing"  # it is silent, or on its way
    LOST_CREDENTIAL = "lost_credential"  # it took the credential, and the answer never arrived
    NO_AGENT = "no_agent"  # its boot program failed, or its agent ended


class BootAge(StrEnum):
    """How long the boot has taken."""

    EARLY = "early"
    LATE = "late"  # past the boot timeout
    OVERDUE = "overdue"  # past twice that
    BEYOND = "beyond"  # past the VM's lifetime: its own timer has ended it, whatever we can see


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that is known of one run at one moment.

    Attributes:
        vm: the run's VM; None when EC2 did not show it.
        described: EC2 answered in full; without that a missing VM means nothing at all.
        job_state: None when it could not be had.
        forgotten: several complete answers in a row did not say where the job stands; see `tracker.unnamed_jobs`.
        mailbox_status: None when the mailbox was not, or could not be, read.
    """

    run: Run
    vm: Vm | None
    described: bool
    job_state: JobState | None
    mailbox_status: MailboxStatus | None
    boot_timeout: timedelta
    policy: Policy
    now: datetime
    forgotten: bool = False

    @property
    def job_phase(self) -> JobPhase:
        """Where the job stands."""
        phase = job_phase_of(self.job_state)
        return JobPhase.FORGOTTEN if self.forgotten and phase is JobPhase.UNKNOWN else phase

    @property
    def visibility(self) -> VmVisibility:
        """What EC2 shows of the VM."""
        if self.vm is not None:
            return _visibility_of(self.vm.state)
        fresh = self.now - self._launched_at <= ABSENCE_GRACE
        return VmVisibility.HIDDEN if fresh or not self.described else VmVisibility.MISSING

    @property
    def credential_holder(self) -> CredentialHolder:
        """Who holds the credential, by the freshest word we have."""
        if self.run.credential_holder is not CredentialHolder.MAILBOX:
            return self.run.credential_holder  # once taken it never goes back
        return CredentialHolder.UNKNOWN if self.mailbox_status is None else self.mailbox_status.credential_holder

    @property
    def boot_report(self) -> BootReport:
        """What the VM says of itself."""
        stage = None if self.mailbox_status is None else self.mailbox_status.stage
        if stage in BOOT_FAILED:
            return BootReport.NO_AGENT
        return BootReport.LOST_CREDENTIAL if stage is BootStage.CREDENTIAL_LOST else BootReport.NOTHING

    @property
    def spot_interrupted(self) -> bool:
        """Whether EC2 took its spot VM back, by EC2's word or the VM's own.

        A job can forge the VM's word. It counts in a metric and words a notice; no decision about a job that an agent
        has looks at it.
        """
        if self.run.binding is None or self.run.binding.capacity_type is not CapacityType.SPOT:
            return False
        told = self.mailbox_status is not None and self.mailbox_status.spot_noticed
        return told or (self.vm is not None and self.vm.reason in SPOT_REASONS)

    @property
    def booting_for(self) -> timedelta:
        """Since the run was bound to its VM, or came into the state that it is in."""
        return self.now - self.run.state_entered_at

    @property
    def boot_age(self) -> BootAge:
        """How long the boot has taken."""
        if self.now - (self.run.vm_since or self._launched_at) > self.policy.max_lifetime + ABSENCE_GRACE:
            return BootAge.BEYOND
        if self.booting_for >= 2 * self.timeout:
            return BootAge.OVERDUE
        return BootAge.LATE if self.booting_for >= self.timeout else BootAge.EARLY

    @property
    def timeout(self) -> timedelta:
        """How long the boot may take: its class's time, or less for a standby VM that says nothing.

        What a VM says proves nothing but that it lives. A young standby VM may prepare itself still.
        """
        status, binding = self.mailbox_status, self.run.binding
        if binding is None or not binding.standby or status is None or status.stage is not None:
            return self.boot_timeout
        if self.credential_holder is not CredentialHolder.MAILBOX:
            return self.boot_timeout
        prepared_at = binding.launched_at + self.boot_timeout
        return max(STANDBY_TIMEOUT, prepared_at - self.run.state_entered_at)

    @property
    def observed_moments(self) -> Mapping[Moment, datetime]:
        """The moments of the run's time line that this look shows for the first time."""
        stage = None if self.mailbox_status is None else self.mailbox_status.stage
        ours = self.credential_holder is CredentialHolder.VM
        on_an_agent = ours and self.job_phase is JobPhase.AGENT
        shown = {
            Moment.VM_RUNNING: self.vm is not None and self.vm.state is VmState.RUNNING,
            Moment.AGENT_STARTED: on_an_agent or (ours and stage in _AGENT_STARTED),
            Moment.JOB_RUNNING: on_an_agent,
        }
        return {moment: self.now for moment, seen in shown.items() if seen and moment not in self.run.timeline}

    @property
    def _launched_at(self) -> datetime:
        return self.run.binding.launched_at if self.run.binding else self.run.state_entered_at


_AGENT_STARTED = frozenset({BootStage.AGENT_STARTED, BootStage.SPOT_NOTICE, BootStage.AGENT_EXITED})
