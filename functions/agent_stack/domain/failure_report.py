"""Failure report: what the build page is told of a job that no VM could run.

A person reads it who did not follow the boots: what happened, what was tried, what an operator can change, and what the
VM itself said. Parts that others wrote come last and are cut first.
"""

from agent_stack.domain.attempts import Attempt, Failure, FailureKind
from agent_stack.domain.classes import base_name
from agent_stack.domain.notices import duration, vm_log_url
from agent_stack.domain.situations import Situation
from agent_stack.domain.texts import crop_bytes, last_bytes, printable

MAX_DETAIL_BYTES = 4096  # source: the finish endpoint of the Stacks API
MAX_CONSOLE_BYTES = 2048
MAX_REASON_BYTES = 700  # of what came from EC2, a VM or a pipeline


def failure_report(s: Situation, reason: str, failure: Failure | None, console: str | None, held: str = "") -> str:
    """The detail that the job is finished with.

    Args:
        reason: why, in one sentence.
        failure: how its VM failed; None for a job that never had one, or whose story is known by its record only.
        console: what the VM wrote to its console, unread and untrusted; None where nobody looked, or could.
        held: how to look into its VM, where that stays up for a person.
    """
    parts = [crop_bytes(reason or "No VM could run this job.", MAX_REASON_BYTES)]
    if failure is not None:
        parts.append(_stood(s))
        parts += [f"The VM's log: {url}"] if (url := vm_log_url(s)) else []
    parts += [held] if held else []
    parts += _tried(s, failure)
    parts.append(f"What an operator can change: {_remedy(s, failure)}")
    text = "\n\n".join(parts)
    room = MAX_DETAIL_BYTES - len(text.encode()) - 100
    if console is not None:
        said = last_bytes(printable(console).strip(), max(0, min(room, MAX_CONSOLE_BYTES)))
        text += f"\n\nThe end of the VM's console:\n{said}" if said else "\n\nThe VM's console shows nothing."
    return crop_bytes(text, MAX_DETAIL_BYTES)


def _stood(s: Situation) -> str:
    """How far the last VM came."""
    mailbox_status, vm = s.mailbox_status, s.vm
    said = (
        f"“{mailbox_status.stage.replace('_', ' ')}”"
        if mailbox_status is not None and mailbox_status.stage is not None
        else "none reported"
    )
    since = (
        f", {round(mailbox_status.stage_seconds)} s after it started"
        if mailbox_status is not None and mailbox_status.stage_seconds
        else ""
    )
    shown = str(vm.state) + (f" ({vm.reason})" if vm.reason else "") if vm is not None else "not shown"
    booting = f"Boot time: {duration(s.booting_for)} (limit {duration(s.boot_timeout)})."
    return f"Last boot stage: {said}{since}. EC2 state: {shown}. {booting}"


def _tried(s: Situation, failure: Failure | None) -> list[str]:
    attempts = s.run.tried if failure is None else s.run.attempts_with(failure, s.now)
    earlier = s.run.attempt - len(attempts)
    lines = [f"{earlier} earlier, not listed"] if earlier > 0 else []
    lines += [f"{earlier + n}. {_attempt(attempt)}" for n, attempt in enumerate(attempts, start=1)]
    return ["What was tried:\n" + "\n".join(lines)] if lines else []


def _attempt(attempt: Attempt) -> str:
    where = ", ".join(part for part in (attempt.instance_type, attempt.capacity_type, attempt.zone) if part)
    return f"{attempt.instance_id} ({where}), {attempt.seconds} s: {attempt.words}"


_NEVER_LAUNCHED = (
    "class “{vm_class}”: more instance_types, another market (capacity type) or fallback_to_on_demand, "
    "and what EC2 names; the stack: Subnets in more zones, LaunchDeadlineSeconds (now {launch_deadline})."
)
_NO_CLASS = "the classes and agent tags on offer, or UnmatchedJobs. The pipeline can ask for a class that is offered."
_TOO_SLOW = (
    "class “{vm_class}”: boot_timeout_seconds (now {boot_timeout}), or an image that boots faster; the stack: "
    "Subnets and security groups from which VMs reach DynamoDB and Buildkite, MaxLaunchAttempts (now {attempts})."
)
_NO_CAPACITY = "class “{vm_class}”: fallback_to_on_demand, more instance_types, or market on-demand."


def _remedy_of(kind: FailureKind) -> str:
    match kind:
        case FailureKind.SPOT | FailureKind.CAPACITY:
            return _NO_CAPACITY
        case FailureKind.EC2:
            return (
                "what EC2's reason names: with Client.InternalError most often the key that encrypts the volume, "
                "else the image or volume of class “{vm_class}”; or a person ended the VM."
            )
        case FailureKind.BOOT_PROGRAM:
            return (
                "what the boot program names: BootstrapUrl, Packages, AgentVersion, or the image of class “{vm_class}”."
            )
        case FailureKind.AGENT:
            return (
                "what the agent names: BuildkiteEndpoint, AgentEnvironment, AgentVersion, or the way from the "
                "VMs' Subnets to Buildkite."
            )
        case FailureKind.TIMEOUT | FailureKind.REVOKED:
            return _TOO_SLOW


def _remedy(s: Situation, failure: Failure | None) -> str:
    never_launched = _NEVER_LAUNCHED if s.run.class_name else _NO_CLASS
    return (never_launched if failure is None else _remedy_of(failure.kind)).format(
        vm_class=base_name(s.run.class_name),
        launch_deadline=round(s.policy.launch_deadline.total_seconds()),
        boot_timeout=round(s.boot_timeout.total_seconds()),
        attempts=s.policy.max_launch_attempts,
    )
