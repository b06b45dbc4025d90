"""What the build page is told, and how: one short text per transition, with facts a person wants.

Each text says what happened, where, and what comes next. Buildkite shows at most 255 characters.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from agent_stack.domain.policy import NotificationLevel
from agent_stack.domain.runs import Run
from agent_stack.domain.states import Moment

MAX_CHARACTERS = 255
SLOW_BOOT_MINUTES = (1, 2, 4, 8)


class NoticeKind(StrEnum):
    """One transition worth telling."""

    VM_REQUESTED = "vm_requested"
    VM_RUNNING = "vm_running"
    SLOW_BOOT = "slow_boot"
    RELAUNCH = "relaunch"
    CANCELLED = "cancelled"
    VM_LOST = "vm_lost"


_FROM_LEVEL = {
    NoticeKind.VM_REQUESTED: NotificationLevel.NORMAL,
    NoticeKind.VM_RUNNING: NotificationLevel.VERBOSE,
    NoticeKind.SLOW_BOOT: NotificationLevel.NORMAL,
    NoticeKind.RELAUNCH: NotificationLevel.QUIET,
    NoticeKind.CANCELLED: NotificationLevel.NORMAL,
    NoticeKind.VM_LOST: NotificationLevel.QUIET,
}
_RANK = {NotificationLevel.QUIET: 0, NotificationLevel.NORMAL: 1, NotificationLevel.VERBOSE: 2}


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
        return _RANK[_FROM_LEVEL[self.kind]] <= _RANK[level]


def vm_requested(run: Run) -> Notice:
    """A VM is bound to the job and on its way up."""
    waited = _since(run.timeline.get(Moment.SCHEDULED), run.timeline.get(Moment.BOUND))
    return _notice(
        NoticeKind.VM_REQUESTED,
        f"Starting VM {_vm(run)}{waited}. Next: it boots and its agent takes this job.",
    )


def vm_running(run: Run, now: datetime) -> Notice:
    """EC2 shows the VM running."""
    return _notice(
        NoticeKind.VM_RUNNING,
        f"VM {_vm(run)} is running{_since(run.timeline.get(Moment.BOUND), now)}. Next: its agent takes this job.",
    )


def slow_boot(run: Run, now: datetime, boot_timeout: timedelta) -> Notice | None:
    """The boot takes long; told at one, two, four and eight minutes, None in between."""
    age = now - run.state_entered_at
    passed = [minutes for minutes in SLOW_BOOT_MINUTES if age >= timedelta(minutes=minutes)]
    if not passed:
        return None
    left = max(timedelta(), boot_timeout - age)
    return _notice(
        NoticeKind.SLOW_BOOT,
        f"VM {_vm(run)} has been booting for {_seconds(age)}. "
        f"Next: if no agent has started in {_seconds(left)}, another VM is tried.",
        suffix=f"_{passed[-1]}",
    )


def relaunch(run: Run, reason: str, max_attempts: int) -> Notice:
    """The VM failed before its agent had the job; there will be another."""
    return _notice(
        NoticeKind.RELAUNCH,
        f"VM {_vm(run)} failed before its agent had this job: {reason}. "
        f"Next: another VM (attempt {run.attempt + 1} of {max_attempts}).",
        suffix=f"_{run.attempt}",
    )


def cancelled(run: Run) -> Notice:
    """The job was cancelled before an agent had it."""
    return _notice(
        NoticeKind.CANCELLED,
        f"Cancelled before an agent had this job: VM {_vm(run)} is being terminated.",
    )


def vm_lost(run: Run, reason: str) -> Notice:
    """The VM went away under a running agent."""
    because = f" ({reason})" if reason else ""
    return _notice(
        NoticeKind.VM_LOST,
        f"VM {_vm(run)} went away while its agent ran this job{because}. Next: Buildkite notices the lost agent "
        "and retries the job if the pipeline says so.",
    )


def _notice(kind: NoticeKind, text: str, *, suffix: str = "") -> Notice:
    return Notice(kind=kind, key=kind + suffix, text=_crop(text))


def _vm(run: Run) -> str:
    if run.binding is None:
        return "(none)"
    b = run.binding
    return f"{b.instance_id} ({', '.join(part for part in (b.instance_type, b.market, b.zone) if part)})"


def _since(start: datetime | None, end: datetime | None) -> str:
    if start is None or end is None or end < start:
        return ""
    return f", {_seconds(end - start)} so far"


def _seconds(duration: timedelta) -> str:
    seconds = round(duration.total_seconds())
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min {seconds % 60} s"  # noqa: PLR2004  (below two minutes people count seconds)


def _crop(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
