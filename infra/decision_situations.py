"""Situations for docs/decisions.md: one for each combination of what decides."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from agent_stack.domain.attempts import PriorUsage
from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId, JobId, QueueKey
from agent_stack.domain.jobs import Job
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import (
    FINISH_SETTLES_AFTER,
    BootAge,
    BootReport,
    JobPhase,
    Situation,
    VmVisibility,
    job_phase_of,
)
from agent_stack.domain.states import BootStage, CredentialHolder, JobState, VmState
from agent_stack.domain.vms import MailboxStatus, Vm
from infra.examples import POLICY

NOW = datetime(2026, 1, 2, tzinfo=UTC)
BOOT_TIMEOUT = timedelta(seconds=3_000)
"""Longer than EC2 may hide a fresh VM, so that a VM can be missing at every age of its boot."""


class Hold(StrEnum):
    """What is left of the reservation."""

    AMPLE = "over half"
    SHORT = "under half"
    LOST = "lost"


class Tries(StrEnum):
    """Whether another VM may be tried."""

    LEFT = "attempts left"
    LAST = "last attempt"


class GivenUp(StrEnum):
    """Whether the dispatcher has given up on the job."""

    NO = "no"
    YES = "given up"


class Noted(StrEnum):
    """How long the job has been over, or cancelling, with its VM up."""

    NO = "just seen"
    RECENT = "within its grace"
    LONG = "past its grace"


class Asked(StrEnum):
    """How long ago Buildkite was asked to finish the job."""

    JUST = f"under {FINISH_SETTLES_AFTER.seconds} s ago"
    BEFORE = "earlier"


def _run() -> Run:
    job = Job(job_id=JobId("job"), queue_key=QueueKey("default"), scheduled_at=NOW)
    run = Run.of(job, class_name=ClassName("default"), earlier=PriorUsage(), now=NOW, failure_reason=None)
    return run.reserved(now=NOW, until=NOW)


VM = Vm(instance_id=InstanceId("i-1"), arn=InstanceArn("arn/i-1"), state=VmState.RUNNING, launched_at=NOW)
_SHOWN = {
    VmVisibility.UP: VmState.RUNNING,
    VmVisibility.GOING: VmState.SHUTTING_DOWN,
    VmVisibility.GONE: VmState.TERMINATED,
}


def _situation(run: Run, job_phase: JobPhase, visibility: VmVisibility, **changes: Any) -> Situation:  # noqa: ANN401  (its fields)
    state = next((state for state in JobState if job_phase_of(state) is job_phase), None)
    values: dict[str, Any] = {
        "run": run,
        "vm": replace(VM, state=_SHOWN[visibility]) if visibility in _SHOWN else None,
        "described": visibility is not VmVisibility.HIDDEN,
        "job_state": state,
        "mailbox_status": None,
        "boot_timeout": BOOT_TIMEOUT,
        "policy": POLICY,
        "now": NOW + timedelta(seconds=700),
        **changes,
    }
    return Situation(**values)


_AFTER = {
    BootAge.EARLY: timedelta(seconds=700),
    BootAge.LATE: BOOT_TIMEOUT,
    BootAge.OVERDUE: 2 * BOOT_TIMEOUT,
    BootAge.BEYOND: 2 * POLICY.max_lifetime,
}
_STAGES = {
    BootReport.NOTHING: BootStage.PREPARING,
    BootReport.LOST_CREDENTIAL: BootStage.CREDENTIAL_LOST,
    BootReport.NO_AGENT: BootStage.FAILED,
}


def reserved(job_phase: JobPhase, given_up: GivenUp, boot_age: BootAge) -> Situation:
    """A run without a VM."""
    run = _run().failing("because") if given_up is GivenUp.YES else _run()
    return _situation(run, job_phase, VmVisibility.HIDDEN, now=NOW + _AFTER[boot_age])


def booting(
    credential_holder: CredentialHolder,
    boot_age: BootAge,
    boot_report: BootReport,
    visibility: VmVisibility,
    job_phase: JobPhase,
    hold: Hold = Hold.AMPLE,
    tries: Tries = Tries.LEFT,
) -> Situation | None:
    """A run whose VM is on its way up; None where the combination cannot be."""
    now = NOW + _AFTER[boot_age]
    left = POLICY.reservation * (0.4 if hold is Hold.SHORT else 0.9)
    run = _run().reserved(now=NOW, until=now + left).bound(VM, now=NOW)
    for _ in range(POLICY.max_launch_attempts - 1 if tries is Tries.LAST else 0):
        run = run.bound(VM, now=NOW)
    run = run.with_facts(
        credential_holder=credential_holder if credential_holder is not CredentialHolder.UNKNOWN else None,
        reservation_lost=hold is Hold.LOST or None,
    )
    if credential_holder is CredentialHolder.UNKNOWN and boot_report is not BootReport.NOTHING:
        return None  # what was not read says nothing
    mailbox_status = (
        None
        if credential_holder is CredentialHolder.UNKNOWN
        else MailboxStatus(credential_holder=credential_holder, stage=_STAGES[boot_report])
    )
    return _situation(run, job_phase, visibility, mailbox_status=mailbox_status, now=now)


def moved_on(
    job_phase: JobPhase,
    credential_holder: CredentialHolder,
    boot_age: BootAge,
    boot_report: BootReport,
    visibility: VmVisibility,
) -> Situation | None:
    """The same, told by its job first."""
    return booting(credential_holder, boot_age, boot_report, visibility, job_phase)


def running(job_phase: JobPhase, visibility: VmVisibility, boot_age: BootAge, with_facts: Noted) -> Situation:
    """A run whose job an agent of ours had."""
    now = NOW + _AFTER[boot_age]
    run = _run().bound(VM, now=NOW).running(now=NOW, observed_moments={})
    long_ago = POLICY.cancel_grace + POLICY.finish_grace
    if with_facts is not Noted.NO:
        run = run.with_facts(job_over_at=now - (long_ago if with_facts is Noted.LONG else timedelta()))
    return _situation(run, job_phase, visibility, now=now)


def finishing(job_phase: JobPhase, visibility: VmVisibility, boot_age: BootAge, asked: Asked) -> Situation:
    """A run that was to be finished."""
    now = NOW + _AFTER[boot_age]
    at = now - (FINISH_SETTLES_AFTER if asked is Asked.BEFORE else timedelta())
    run = _run().bound(VM, now=NOW).with_facts(credential_holder=CredentialHolder.TRACKER).finishing("because", now=at)
    return _situation(run, job_phase, visibility, now=now)
