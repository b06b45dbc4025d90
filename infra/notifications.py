"""docs/reference/notifications.md, from the functions that write the texts: every notice, told of one example job."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agent_stack.domain import notices
from agent_stack.domain.attempts import Failure, FailureKind
from agent_stack.domain.failure_report import MAX_CONSOLE_BYTES, MAX_DETAIL_BYTES, failure_report
from agent_stack.domain.holds import Hold
from agent_stack.domain.identifiers import Bucket, ClassName, InstanceArn, InstanceId, JobId, QueueKey
from agent_stack.domain.jobs import Job
from agent_stack.domain.notices import MAX_CHARACTERS, SLOW_BOOT_MINUTES, Notice, NoticeKind, least_level
from agent_stack.domain.policy import Policy
from agent_stack.domain.quotas import Ceiling
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import Situation
from agent_stack.domain.states import BootStage, CapacityType, CredentialHolder, JobState, Moment, VmState
from agent_stack.domain.vms import MailboxStatus, Vm
from agent_stack.domain.waiting import (
    MAX_LISTED,
    MAX_NOTICES_OF_A_JOB,
    MAX_NOTICES_PER_CYCLE,
    PATIENCE,
    Waiting,
    WaitReason,
    waiting_notice,
)
from agent_stack.settings import Settings
from agent_stack.tracker.finish import EXIT_STATUS
from agent_stack.tracker.remember_notices import MAX_NOTICES_OF_RUNS
from infra.examples import POLICY, environment

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "notifications.md"
NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
BOOT_TIMEOUT = timedelta(seconds=300)
SPOT_LOSS = Failure(kind=FailureKind.SPOT, words="EC2 shows it terminated (Server.SpotInstanceTermination)")
TOO_SLOW = Failure(kind=FailureKind.TIMEOUT, words="no agent after 5 min 0 s")
WITH_VCPUS: Policy = replace(POLICY, max_vcpus=200)

VM_LOG_URL = Settings.from_environment({**environment(), "VM_LOG_GROUP": "/agent-stack/stack/vms"}).vm_log_url

NO_CAPACITY = "InsufficientInstanceCapacity: There is no Spot capacity available that matches your request."


def _words(reason: WaitReason) -> str:  # noqa: PLR0911  (one text for each reason)
    """EC2's own, or the figure that the bound has."""
    match reason:
        case WaitReason.CLASS_MAXIMUM:
            return "50"
        case WaitReason.PAUSED:
            return "2026-01-05 09:00 UTC by alice: the image is broken"
        case WaitReason.BROKEN:
            return "InvalidAMIID.NotFound: The image id '[ami-0123456789abcdef0]' does not exist"
        case WaitReason.NO_CAPACITY:
            return NO_CAPACITY
        case WaitReason.NO_CLASS:
            return "There is no class “larg” here. Would match: class=large, class=default."
        case WaitReason.QUOTA:
            full = Ceiling(most=1, refused_at=NOW, code="MaxSpotInstanceCountExceeded", message="", vms=2, vcpus=4)
            return full.words(Bucket("spot:standard"))
        case WaitReason.REFUSED:
            return "InternalError: An internal error has occurred"
        case (
            WaitReason.LAUNCH_DISABLED
            | WaitReason.MAX_INSTANCES
            | WaitReason.MAX_VCPUS
            | WaitReason.LAUNCH_RATE
            | WaitReason.EC2_BUDGET
            | WaitReason.CYCLE_ROOM
        ):
            return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A notice, and when it is told."""

    when: str
    notice: Notice


def page() -> str:
    """The page's text."""
    shown = [
        "# Notifications on build pages",
        "",
        "Written by scripts/generate from the functions that write the texts.",
        "",
        f"Each notice is at most {MAX_CHARACTERS} characters, is sent once, and says what happened, where, and what",
        f"comes next. A job gets at most {MAX_NOTICES_OF_RUNS + MAX_NOTICES_OF_A_JOB} of them, over all its VMs.",
        "`NotificationLevel` says from which level on each is sent: `quiet`, `normal` or `verbose`. The tracker",
        "records a notice before it sends it, so a crash can lose one and never repeats one.",
        "",
    ]
    while_it_waits = f"While it waits for a VM, from {PATIENCE.seconds} s on"
    titles = {NoticeKind.WAITING: while_it_waits, NoticeKind.UNMATCHED: while_it_waits}
    notices_sent: list[str] = []
    for example in examples():
        title = titles.get(example.notice.kind, "Once it has a VM")
        if title not in notices_sent:
            notices_sent.append(title)
            shown += ["", f"## {title}", ""] if notices_sent[1:] else [f"## {title}", ""]
            if example.notice.kind is NoticeKind.WAITING:
                shown += [
                    f"Each reason once, at most {MAX_NOTICES_OF_A_JOB} of them; the first {MAX_LISTED} jobs in line,",
                    f"{MAX_NOTICES_PER_CYCLE} a second. A paused queue is Buildkite's own to show.",
                    "",
                ]
            shown += ["| When | From level | Text |", "|---|---|---|"]
        text = example.notice.text.replace("|", "\\|")
        shown.append(f"| {example.when} | `{least_level(example.notice.kind)}` | {text} |")
    return "\n".join([*shown, "", *_finishing()])


def _finishing() -> list[str]:
    s = _situation(seconds=300, attempt=3, stage=None, tried=(TOO_SLOW, SPOT_LOSS))
    reason = "No agent could be started in 3 attempts: no agent after 5 min 0 s."
    console = (
        "cloud-init[812]: installing packages\ncurl: (28) Failed to connect to dynamodb.eu-central-1.amazonaws.com"
    )
    deadline = round(POLICY.launch_deadline.total_seconds())
    given_up = replace(s, run=_run(), vm=None)
    return [
        "## When no VM could run it",
        "",
        f"The job is finished with exit status {EXIT_STATUS} and a detail of at most {MAX_DETAIL_BYTES} bytes: what",
        "happened, what was tried, what an operator can change, and the VM's own report. Of a VM that gave no reason",
        f"itself, the last {MAX_CONSOLE_BYTES} bytes of its console are shown. Where VMs were tried:",
        "",
        "```text",
        failure_report(s, reason, TOO_SLOW, console),
        "```",
        "",
        "EC2 never gave one:",
        "",
        "```text",
        failure_report(
            given_up,
            f"No VM of class “large” could be launched within {deadline} s. Last EC2 error: {NO_CAPACITY}",
            None,
            None,
        ),
        "```",
        "",
    ]


def examples() -> Iterator[Example]:
    """Every notice, in the order in which a job could meet them."""
    for reason in WaitReason:
        waiting = Waiting(
            job_id=JobId("job"),
            queue_key=QueueKey("default"),
            class_name=ClassName("large"),
            reason=reason,
            words=_words(reason),
        )
        yield Example(when=_when(reason), notice=waiting_notice(waiting, WITH_VCPUS))
    lost = _situation(seconds=48, attempt=1, capacity_type=CapacityType.SPOT)
    again = _situation(seconds=0, attempt=2, tried=(TOO_SLOW,))
    on_demand = _situation(seconds=0, attempt=3, tried=(SPOT_LOSS, SPOT_LOSS))
    minutes = ", ".join(map(str, SLOW_BOOT_MINUTES))
    yield Example(when="a VM is bound to it", notice=notices.vm_requested(_situation(seconds=0)))
    yield Example(when="another VM is bound to it", notice=notices.vm_requested(again))
    yield Example(when="spot was lost twice, and the class may fall back", notice=notices.vm_requested(on_demand))
    yield Example(when="EC2 shows the VM running", notice=notices.vm_running(_situation(seconds=11)))
    slow = notices.slow_boot(_situation(seconds=121))
    last = notices.slow_boot(_situation(seconds=240, attempt=3))
    yield from (
        Example(when=f"no agent after {minutes} minutes{of}", notice=notice)
        for of, notice in (("", slow), (", at the last attempt", last))
        if notice is not None
    )
    taken = _situation(seconds=301, stage=BootStage.CREDENTIAL_TAKEN, credential_holder=CredentialHolder.VM)
    yield Example(when="the VM took the job's credential and no agent shows in time", notice=notices.overdue(taken))
    failed = Failure(kind=FailureKind.BOOT_PROGRAM, words="its boot program failed: BootstrapUrl ended with 7")
    yield Example(when="the VM failed", notice=notices.relaunch(_situation(seconds=48), failed))
    yield Example(when="EC2 took the spot VM back", notice=notices.relaunch(lost, SPOT_LOSS))
    yield Example(
        when="that was the second time",
        notice=notices.relaunch(
            _situation(
                seconds=48, attempt=2, capacity_type=CapacityType.SPOT, tried=(SPOT_LOSS,), tried_in=CapacityType.SPOT
            ),
            SPOT_LOSS,
        ),
    )
    told = "(mirrors 1/2 5400 s) git@github.com:acme/app.git: its seed is refused: it holds objects/info/alternates"
    running = _situation(seconds=20, stage=BootStage.AGENT_STARTED, credential_holder=CredentialHolder.VM, detail=told)
    yield from (
        Example(when="with `GitMirrors`, a seed is missing or refused", notice=missing)
        for missing in notices.mirrors_missing(running)
    )
    yield Example(when="it is cancelled before an agent had it", notice=notices.cancelled(_situation(seconds=20)))
    yield Example(
        when="its agent does not end it when cancelled", notice=notices.cancel_forced(_situation(seconds=500))
    )
    yield Example(
        when="its VM goes away under its agent",
        notice=notices.vm_lost(_with_an_agent(CapacityType.SPOT, "")),
    )
    ended = _with_an_agent(CapacityType.ON_DEMAND, "0 ERROR  starting job: PUT /jobs/start: 422 Unprocessable Entity")
    yield Example(when="its agent ended and left the job", notice=notices.vm_lost(ended))
    given_up = _situation(seconds=40)
    hold = Hold(
        instance_id=InstanceId("i-0123456789abcdef0"),
        arn=InstanceArn(""),
        class_name=ClassName("large"),
        until=given_up.now + timedelta(minutes=30),
    )
    yield Example(
        when="with `HoldOnFailureMinutes`, its VM failed and stays up for a person",
        notice=notices.vm_held(given_up, hold.connect, hold.until),
    )
    yield from (
        Example(when="with `VmLogs=cloudwatch`, beside what a VM failed with", notice=log)
        for log in notices.vm_log(ended)
    )


def _when(reason: WaitReason) -> str:  # noqa: C901, PLR0911, PLR0912  (one text for each reason)
    match reason:
        case WaitReason.PAUSED:
            return "`agent-stack pause`"
        case WaitReason.LAUNCH_DISABLED:
            return "`LaunchEnabled=false`"
        case WaitReason.MAX_INSTANCES:
            return "`MaxInstances` VMs are taken"
        case WaitReason.MAX_VCPUS:
            return "`MaxVcpus` are taken"
        case WaitReason.CLASS_MAXIMUM:
            return "the class's `max_instances` are taken"
        case WaitReason.LAUNCH_RATE:
            return "`MaxLaunchesPerMinute` were launched"
        case WaitReason.EC2_BUDGET:
            return "EC2's own rate is used up"
        case WaitReason.CYCLE_ROOM:
            return "thousands of jobs wait, and the dispatcher starts them one part after another"
        case WaitReason.BROKEN:
            return "EC2 refuses the class, or the account"
        case WaitReason.NO_CAPACITY:
            return "EC2 has no capacity"
        case WaitReason.NO_CLASS:
            return "no class fits it; not with `UnmatchedJobs=fail`, which finishes the job with the same words"
        case WaitReason.QUOTA:
            return "a vCPU quota is full"
        case WaitReason.REFUSED:
            return "EC2 refuses whole requests"


def _run() -> Run:
    job = Job(job_id=JobId("job"), queue_key=QueueKey("default"), scheduled_at=NOW - timedelta(seconds=4))
    return Run.of(job, class_name=ClassName("large"), now=NOW, failure_reason=None)


def _situation(
    *,
    seconds: int,
    attempt: int = 1,
    stage: BootStage | None = BootStage.PREPARING,
    credential_holder: CredentialHolder = CredentialHolder.MAILBOX,
    capacity_type: CapacityType = CapacityType.ON_DEMAND,
    state: VmState = VmState.RUNNING,
    tried: Sequence[Failure] = (),
    tried_in: CapacityType = CapacityType.SPOT,
    detail: str = "",
) -> Situation:
    """The example job that long after it got that VM."""
    run = _run()
    for number, failure in enumerate(tried, start=1):
        run = run.bound(_vm(number, capacity_type=tried_in, state=VmState.TERMINATED), now=NOW)
        run = run.requeued(failure, now=NOW + timedelta(seconds=48))
    vm = _vm(attempt, capacity_type=capacity_type, state=state)
    run = replace(run, attempt=attempt - 1).bound(vm, now=NOW)
    changes: dict[str, Any] = {
        "mailbox_status": None
        if stage is None
        else MailboxStatus(credential_holder=credential_holder, stage=stage, detail=detail)
    }
    return Situation(
        run=replace(run, timeline={**run.timeline, Moment.BOUND: NOW}),
        vm=vm,
        described=True,
        job_state=JobState.RESERVED,
        boot_timeout=BOOT_TIMEOUT,
        policy=POLICY,
        now=NOW + timedelta(seconds=seconds),
        **changes,
    )


def _with_an_agent(capacity_type: CapacityType, last_words: str) -> Situation:
    """The example job while an agent had it, and its VM is gone."""
    s = _situation(seconds=500, state=VmState.TERMINATED, capacity_type=capacity_type)
    said = MailboxStatus(credential_holder=CredentialHolder.VM, stage=BootStage.AGENT_EXITED, detail=last_words)
    return replace(
        s,
        run=s.run.running(now=NOW, observed_moments={}),
        mailbox_status=said if last_words else None,
        policy=replace(POLICY, vm_log_url=VM_LOG_URL),
    )


def _vm(number: int, *, capacity_type: CapacityType, state: VmState) -> Vm:
    reason = "Server.SpotInstanceTermination" if state is VmState.TERMINATED else ""
    return Vm(
        instance_id=InstanceId(f"i-0{number}23456789abcdef0"),
        arn=InstanceArn(f"arn:aws:ec2:eu-central-1:123456789012:instance/i-0{number}23456789abcdef0"),
        state=state,
        launched_at=NOW,
        instance_type="m7i.large",
        zone="eu-central-1a",
        capacity_type=capacity_type,
        reason=reason,
    )
