"""What the build page is told, and how: one short text per transition, with facts a person wants.

Each text says what happened, where, and what comes next. Buildkite shows at most 255 characters.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from agent_stack.domain.attempts import SPOT_LOSSES_BEFORE_ON_DEMAND, Failure, FailureKind, spot_losses
from agent_stack.domain.policy import NotificationLevel
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import Situation
from agent_stack.domain.states import CapacityType, Moment, RunState
from agent_stack.domain.texts import crop_characters, crop_inside

MAX_CHARACTERS = 255
MAX_FACT_CHARACTERS = 90  # of what a VM or EC2 says, so that what comes next still fits
SLOW_BOOT_MINUTES = (1, 2, 4, 8)


class NoticeKind(StrEnum):
    """One transition that a build page shows."""

    WAITING = "waiting"
    UNMATCHED = "unmatched"
    VM_REQUESTED = "vm_requested"
    VM_RUNNING = "vm_running"
    SLOW_BOOT = "slow_boot"
    OVERDUE = "overdue"
    RELAUNCH = "relaunch"
    CANCELLED = "cancelled"
    CANCEL_FORCED = "cancel_forced"
    VM_LOST = "vm_lost"
    VM_LOG = "vm_log"
    VM_HELD = "vm_held"
    MIRRORS_MISSING = "mirrors_missing"


def least_level(kind: NoticeKind) -> NotificationLevel:
    """The least level at which such a notice is sent."""
    match kind:
        case NoticeKind.UNMATCHED | NoticeKind.OVERDUE | NoticeKind.RELAUNCH:
            return NotificationLevel.QUIET
        case NoticeKind.CANCEL_FORCED | NoticeKind.VM_LOST | NoticeKind.VM_LOG | NoticeKind.VM_HELD:
            return NotificationLevel.QUIET
        case NoticeKind.WAITING | NoticeKind.VM_REQUESTED | NoticeKind.SLOW_BOOT | NoticeKind.CANCELLED:
            return NotificationLevel.NORMAL
        case NoticeKind.MIRRORS_MISSING:
            return NotificationLevel.NORMAL
        case NoticeKind.VM_RUNNING:
            return NotificationLevel.VERBOSE


_LEVELS = tuple(NotificationLevel)
"""From the least to the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A text for the build page.

    Attributes:
        key: what the run remembers, so that it is told once.
    """

    kind: NoticeKind
    key: str
    text: str

    def shown_at(self, level: NotificationLevel) -> bool:
        """Whether an operator who chose that level wants it."""
        return is_sent_at(self.kind, level)


def is_sent_at(kind: NoticeKind, level: NotificationLevel) -> bool:
    """Whether notices of that kind are told at that level."""
    return _LEVELS.index(least_level(kind)) <= _LEVELS.index(level)


def notice(kind: NoticeKind, text: str, *, suffix: str = "") -> Notice:
    """A notice of that kind, its text in what the page takes."""
    return Notice(kind=kind, key=kind + suffix, text=crop_characters(text, MAX_CHARACTERS))


def vm_requested(s: Situation) -> Notice:
    """A VM is bound to the job and on its way up."""
    waited = _since(s.run.waits_since, s.run.timeline.get(Moment.BOUND))
    after = f" {waited} after the job became runnable" if waited and s.run.attempt == 1 else ""
    number = s.run.counted_attempts + (s.run.binding is not None and s.run.binding.standby and s.run.may_stand_by)
    again = f" (attempt {number} of {s.policy.max_launch_attempts})" if s.run.attempt > 1 else ""
    spot = spot_losses(s.run.tried)
    if s.run.binding is not None and s.run.binding.standby:
        return notice(
            NoticeKind.VM_REQUESTED, f"Took standby VM {_vm(s.run)}{after}{again}. Next: its agent takes this job."
        )
    instead = f", on-demand after {spot} spot losses" if spot >= SPOT_LOSSES_BEFORE_ON_DEMAND and _on_demand(s) else ""
    return notice(
        NoticeKind.VM_REQUESTED,
        f"Starting VM {_vm(s.run)}{after}{again}{instead}. Next: it boots and its agent takes this job.",
    )


def took_standby(s: Situation) -> tuple[Notice, ...]:
    """A standby VM may have the job running before the tracker looks; its page is told all the same."""
    return (vm_requested(s),) if s.run.binding is not None and s.run.binding.standby else ()


def mirrors_missing(s: Situation) -> tuple[Notice, ...]:
    """The VM lacks a git mirror that the operator lists: the checkout may take longer, and does not fail."""
    mirrors = s.mailbox_status.mirrors if s.mailbox_status is not None else None
    if mirrors is None or not mirrors.missing:
        return ()
    of = f"{mirrors.missing} of {mirrors.there + mirrors.missing} git mirrors"
    return (
        notice(
            NoticeKind.MIRRORS_MISSING,
            f"VM {_vm(s.run)} has no seed for {of}: {crop_inside(mirrors.trouble, MAX_FACT_CHARACTERS)}. "
            "Next: git clones from the server.",
        ),
    )


def vm_running(s: Situation) -> Notice:
    """EC2 shows the VM running."""
    since = _since(s.run.timeline.get(Moment.BOUND), s.now)
    after = f" {since} after it was given this job" if since else ""
    return notice(NoticeKind.VM_RUNNING, f"VM {_vm(s.run)} is running{after}. Next: its agent takes this job.")


def slow_boot(s: Situation) -> Notice | None:
    """The boot takes long; told at one, two, four and eight minutes, None in between."""
    passed = [minutes for minutes in SLOW_BOOT_MINUTES if s.booting_for >= timedelta(minutes=minutes)]
    if not passed:
        return None
    stage = s.mailbox_status.stage if s.mailbox_status is not None else None
    at = f" and reports “{stage.replace('_', ' ')}”" if stage is not None else " and has reported no boot stage yet"
    left = duration(max(timedelta(), s.timeout - s.booting_for))
    return notice(
        NoticeKind.SLOW_BOOT,
        f"VM {_vm(s.run)} has been booting for {duration(s.booting_for)}{at}. "
        f"Next: if no agent has started in {left}, {_or_else(s)}.",
        suffix=f"_{passed[-1]}",
    )


def overdue(s: Situation) -> Notice:
    """The VM has the credential, and no agent shows in time."""
    left = duration(max(timedelta(), 2 * s.timeout - s.booting_for))
    return notice(
        NoticeKind.OVERDUE,
        f"VM {_vm(s.run)} has this job, but no agent shows after {duration(s.booting_for)}. "
        f"Next: if none shows in {left}, the VM is terminated and {_or_else(s)}.",
    )


def relaunch(s: Situation, failure: Failure) -> Notice:
    """The VM failed before its agent had the job; there will be another."""
    happened = (
        "was interrupted by EC2 (spot) before its agent had this job"
        if failure.kind is FailureKind.SPOT
        else f"could not run this job: {crop_inside(failure.words, MAX_FACT_CHARACTERS)}"
    )
    losses = spot_losses(s.run.attempts_with(failure, s.now))
    capacity_type = ", on-demand if its class allows it" if losses >= SPOT_LOSSES_BEFORE_ON_DEMAND else ""
    return notice(
        NoticeKind.RELAUNCH,
        f"VM {_vm(s.run)} {happened}. "
        f"Next: another VM{capacity_type} (attempt {s.run.counted_attempts + 1} of {s.policy.max_launch_attempts}).",
        suffix=f"_{s.run.attempt}",
    )


def cancelled(s: Situation) -> Notice:
    """The job was cancelled before an agent had it."""
    return notice(
        NoticeKind.CANCELLED,
        f"Cancelled before an agent had this job. Next: VM {_vm(s.run)} is terminated.",
    )


def cancel_forced(s: Situation) -> Notice:
    """The agent had its grace to end the cancelled job, and did not."""
    return notice(
        NoticeKind.CANCEL_FORCED,
        f"The agent did not end this cancelled job within {duration(s.policy.cancel_grace)}. "
        f"Next: VM {_vm(s.run)} is terminated, and Buildkite notices the lost agent within minutes.",
    )


def vm_lost(s: Situation) -> Notice:
    """The VM went away under a running agent."""
    words = s.mailbox_status.last_words if s.mailbox_status is not None else ""
    reason = f"its agent ended: {words}" if words else s.vm.reason if s.vm is not None else ""
    happened = "was interrupted by EC2 (spot)" if s.spot_interrupted else "went away"
    because = f" ({crop_inside(reason, MAX_FACT_CHARACTERS - 10)})" if reason else ""
    return notice(
        NoticeKind.VM_LOST,
        f"VM {_vm(s.run)} {happened} while an agent had this job{because}. "
        "Next: Buildkite notices within minutes; a retry rule may run it again.",
    )


def vm_log_url(s: Situation) -> str:
    """Where the log of the run's VM can be read; empty where VMs send none, or this one has not come so far.

    A standby VM sends its log when it begins to wait, and reports nothing until it has a job.
    """
    binding = s.run.binding
    if binding is None or not s.policy.vm_log_url:
        return ""
    reported = s.mailbox_status is not None and s.mailbox_status.stage is not None
    sends = reported or binding.standby or s.run.state is not RunState.BOOTING
    return s.policy.vm_log_url + binding.instance_id if sends else ""


def vm_log(s: Situation) -> tuple[Notice, ...]:
    """Where to read more: a notice of its own, for a cropped link leads nowhere. None where it does not fit."""
    text = f"Log of the VM: {vm_log_url(s)}"
    if not vm_log_url(s) or len(text) > MAX_CHARACTERS:
        return ()
    return (notice(NoticeKind.VM_LOG, text, suffix=f"_{s.run.attempt}"),)


def vm_held(s: Situation, connect: str, until: datetime) -> Notice:
    """The VM's boot failed, and it stays up for a person. The job does not wait for it."""
    return notice(
        NoticeKind.VM_HELD,
        f"VM {_vm(s.run)} stays up for {duration(until - s.now)}: look into its failed boot with {connect}. "
        "Next: it is terminated; this job does not wait for it.",
        suffix=f"_{s.run.attempt}",
    )


def duration(span: timedelta) -> str:
    """As people say it: seconds below two minutes, then minutes and seconds."""
    seconds = round(span.total_seconds())
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min {seconds % 60} s"  # noqa: PLR2004  (below two minutes people count seconds)


def _or_else(s: Situation) -> str:
    last = s.run.counted_attempts >= s.policy.max_launch_attempts
    return "this job is failed by the stack, with the reason" if last else "another VM is tried"


def _on_demand(s: Situation) -> bool:
    return s.run.binding is not None and s.run.binding.capacity_type is CapacityType.ON_DEMAND


def _vm(run: Run) -> str:
    if run.binding is None:
        return "(none)"
    b = run.binding
    return f"{b.instance_id} ({', '.join(part for part in (b.instance_type, b.capacity_type, b.zone) if part)})"


def _since(start: datetime | None, end: datetime | None) -> str:
    return "" if start is None or end is None or end < start else duration(end - start)
