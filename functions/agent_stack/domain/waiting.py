"""Waiting: why a job has no VM yet, in words for its build page.

The dispatcher knows why; the tracker is the only one that tells. Between them stands a list, bounded and short-lived.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from agent_stack.domain.classes import Unmatched, base_name
from agent_stack.domain.identifiers import ClassName, JobId, QueueKey
from agent_stack.domain.jobs import Job
from agent_stack.domain.notices import MAX_CHARACTERS, MAX_FACT_CHARACTERS, Notice, NoticeKind, notice
from agent_stack.domain.policy import Policy
from agent_stack.domain.texts import crop_characters

NO_CLASS = ClassName("")
"""The class of a job that no class fits."""

PATIENCE = timedelta(seconds=30)
"""A job that has waited for less wants no explanation: most VMs are launched by then."""

MAX_LISTED = 500
"""Jobs on the list: the first in line. Those behind them are told when they come closer."""

STALE_AFTER = timedelta(seconds=150)
"""A list that old is of a dispatcher that does not run any more. It is written again each minute while jobs wait."""

MAX_NOTICES_OF_A_JOB = 5
"""Different reasons that one job is notified of, of the notices that it may have in all; see `notify_waiting`."""

MAX_UNMATCHED_LISTED = 50
"""Of the jobs on the list, those that no class fits; each minute the next ones, so that each has its turn. A pipeline
can ask for anything, in any number of jobs, and must not crowd out the others."""

_UNMATCHED_NEXT = "it starts when a class fits it, or when another stack takes it."
MAX_UNMATCHED_CHARACTERS = MAX_CHARACTERS - len("Waiting:  Next: ") - len(_UNMATCHED_NEXT)

MAX_NOTICES_PER_CYCLE = 100


class WaitReason(StrEnum):
    """Why a job has no VM yet. What a queue paused at Buildkite holds back is Buildkite's own to tell."""

    PAUSED = "paused"  # by the stack's operator, with `agent-stack pause`
    LAUNCH_DISABLED = "launch_disabled"
    MAX_INSTANCES = "max_instances"
    MAX_VCPUS = "max_vcpus"
    CLASS_MAXIMUM = "class_maximum"
    LAUNCH_RATE = "launch_rate"
    EC2_BUDGET = "ec2_budget"
    BROKEN = "broken"  # EC2 calls the class, or the account, wrong
    NO_CAPACITY = "dry"  # EC2 has none of its types in its zones
    QUOTA = "quota"  # a vCPU quota of the account is full
    REFUSED = "refused"  # EC2 refuses whole requests, and does not say that the class is wrong
    NO_CLASS = "no_class"  # the stack offers nothing of what it asks for
    CYCLE_ROOM = "cycle_room"  # the dispatcher begins as many jobs as it can, and others are first


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One job that waits.

    Attributes:
        words: EC2's own, the figure that the bound has, or why no class fits and what would match.
    """

    job_id: JobId
    queue_key: QueueKey
    class_name: ClassName
    reason: WaitReason
    words: str = ""


def waits(job: Job, class_name: ClassName, reason: WaitReason, now: datetime, words: str = "") -> list[Waiting]:
    """That job on the list, if it has waited long enough to matter."""
    if now - job.waits_since < PATIENCE:
        return []
    return [Waiting(job_id=job.job_id, queue_key=job.queue_key, class_name=class_name, reason=reason, words=words)]


def unmatched_turn(jobs: Sequence[tuple[Job, Unmatched]], now: datetime) -> Sequence[tuple[Job, Unmatched]]:
    """Those of the jobs that no class fits whose turn it is in this minute. Nothing is worked out for the others."""
    minute = int(now.timestamp()) // 60
    start = minute * MAX_UNMATCHED_LISTED % len(jobs) if len(jobs) > MAX_UNMATCHED_LISTED else 0
    return jobs[start : start + MAX_UNMATCHED_LISTED]


def unmatched_waits(job: Job, match: Unmatched, now: datetime) -> list[Waiting]:
    """That job on the list, with what would match it. That is worked out only where it is on the list."""
    listed = waits(job, NO_CLASS, WaitReason.NO_CLASS, now)
    return [replace(one, words=crop_characters(match.reason, MAX_UNMATCHED_CHARACTERS)) for one in listed]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingList:
    """Who waits for a VM, first in line first, as the dispatcher saw it then."""

    at: datetime
    jobs: tuple[Waiting, ...] = ()

    def current(self, now: datetime) -> Sequence[Waiting]:
        """Those of it, unless it is out of date."""
        return self.jobs if now - self.at < STALE_AFTER else ()


def waiting_notice(waiting: Waiting, policy: Policy) -> Notice:
    """What its build page is told."""
    why = _why(waiting, policy, base_name(waiting.class_name))
    kind = NoticeKind.UNMATCHED if waiting.reason is WaitReason.NO_CLASS else NoticeKind.WAITING
    return notice(kind, f"Waiting: {why}", suffix=f"_{waiting.reason}")


def _why(waiting: Waiting, policy: Policy, vm_class: ClassName) -> str:  # noqa: C901, PLR0911, PLR0912  (one text for each reason)
    said = f": {crop_characters(waiting.words, MAX_FACT_CHARACTERS)}" if waiting.words else ""
    since = f" since {crop_characters(waiting.words, MAX_FACT_CHARACTERS)}" if waiting.words else ""
    match waiting.reason:
        case WaitReason.PAUSED:
            return f"an operator has paused the launches of this stack{since}. Next: it starts when they are resumed."
        case WaitReason.LAUNCH_DISABLED:
            return "an operator has turned launches off (LaunchEnabled). Next: it starts when they are on again."
        case WaitReason.MAX_INSTANCES:
            return (
                f"all {policy.max_instances} VMs of this stack are taken (MaxInstances). "
                "Next: one that ends makes room."
            )
        case WaitReason.MAX_VCPUS:
            return f"the stack's {policy.max_vcpus} vCPUs are taken (MaxVcpus). Next: a VM that ends makes room."
        case WaitReason.CLASS_MAXIMUM:
            return (
                f"all {waiting.words} VMs of class “{vm_class}” are taken (its max_instances). "
                "Next: one that ends makes room."
            )
        case WaitReason.LAUNCH_RATE:
            return (
                f"the stack starts at most {policy.max_launches_per_minute} VMs a minute (MaxLaunchesPerMinute). "
                "Next: its turn comes within minutes."
            )
        case WaitReason.EC2_BUDGET:
            return (
                f"EC2 grants this account about {policy.instance_budget.per_second:g} new VMs a second, and other "
                "jobs are first. Next: its turn comes as EC2 grants more."
            )
        case WaitReason.CYCLE_ROOM:
            return (
                "the stack starts jobs as fast as its dispatcher can, and other jobs are first. "
                "Next: its turn comes within minutes; more DispatcherMemory makes it faster."
            )
        case WaitReason.BROKEN:
            return (
                f"no VM of class “{vm_class}” can be launched{said}. "
                "Next: it is tried again within minutes; an operator has to fix it."
            )
        case WaitReason.NO_CAPACITY:
            return f"EC2 has no VM of class “{vm_class}” free{said}. Next: it is asked again within 3 minutes."
        case WaitReason.NO_CLASS:
            return f"{crop_characters(waiting.words, MAX_UNMATCHED_CHARACTERS)} Next: {_UNMATCHED_NEXT}"
        case WaitReason.QUOTA:
            whole = f": {waiting.words}" if waiting.words else ""
            return (
                f"class “{vm_class}” needs an EC2 quota that is full{whole}. "
                "Next: a VM that ends makes room; or ask AWS to raise it."
            )
        case WaitReason.REFUSED:
            return f"EC2 refuses requests for class “{vm_class}”{said}. Next: it is asked again within 2 minutes."
