"""Situations for docs/decisions.md: one for each combination of what decides."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from agent_stack.domain.attempts import Earlier
from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId, JobId, QueueKey
from agent_stack.domain.jobs import Job
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import FINISH_SETTLES_AFTER, Age, Sight, Situation, Standing, Word, standing_of
from agent_stack.domain.states import Baton, BootStage, JobState, VmState
from agent_stack.domain.vms import Mail, Vm
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
    run = Run.of(job, class_name=ClassName("default"), earlier=Earlier(), now=NOW, give_up=None)
    return run.reserved(now=NOW, until=NOW)


VM = Vm(instance_id=InstanceId("i-1"), arn=InstanceArn("arn/i-1"), state=VmState.RUNNING, launched_at=NOW)
_SHOWN = {Sight.UP: VmState.RUNNING, Sight.GOING: VmState.SHUTTING_DOWN, Sight.GONE: VmState.TERMINATED}


def _situation(run: Run, standing: Standing, sight: Sight, **changes: Any) -> Situation:  # noqa: ANN401  (its fields)
    state = next((state for state in JobState if standing_of(state) is standing), None)
    values: dict[str, Any] = {
        "run": run,
        "vm": replace(VM, state=_SHOWN[sight]) if sight in _SHOWN else None,
        "described": sight is not Sight.HIDDEN,
        "job_state": state,
        "mail": None,
        "boot_timeout": BOOT_TIMEOUT,
        "policy": POLICY,
        "now": NOW + timedelta(seconds=700),
        **changes,
    }
    return Situation(**values)


_AFTER = {
    Age.EARLY: timedelta(seconds=700),
    Age.LATE: BOOT_TIMEOUT,
    Age.OVERDUE: 2 * BOOT_TIMEOUT,
    Age.BEYOND: 2 * POLICY.max_lifetime,
}
_STAGES = {
    Word.NOTHING: BootStage.PREPARING,
    Word.LOST_CREDENTIAL: BootStage.CREDENTIAL_LOST,
    Word.NO_AGENT: BootStage.FAILED,
}


def reserved(standing: Standing, given_up: GivenUp, age: Age) -> Situation:
    """A run without a VM."""
    run = _run().giving_up("because") if given_up is GivenUp.YES else _run()
    return _situation(run, standing, Sight.HIDDEN, now=NOW + _AFTER[age])


def booting(
    baton: Baton,
    age: Age,
    word: Word,
    sight: Sight,
    standing: Standing,
    hold: Hold = Hold.AMPLE,
    tries: Tries = Tries.LEFT,
) -> Situation | None:
    """A run whose VM is on its way up; None where the combination cannot be."""
    now = NOW + _AFTER[age]
    left = POLICY.reservation * (0.4 if hold is Hold.SHORT else 0.9)
    run = _run().reserved(now=NOW, until=now + left).bound(VM, now=NOW)
    for _ in range(POLICY.max_launch_attempts - 1 if tries is Tries.LAST else 0):
        run = run.bound(VM, now=NOW)
    run = run.noted(baton=baton if baton is not Baton.UNKNOWN else None, reservation_lost=hold is Hold.LOST or None)
    if baton is Baton.UNKNOWN and word is not Word.NOTHING:
        return None  # what was not read says nothing
    mail = None if baton is Baton.UNKNOWN else Mail(baton=baton, stage=_STAGES[word])
    return _situation(run, standing, sight, mail=mail, now=now)


def moved_on(standing: Standing, baton: Baton, age: Age, word: Word, sight: Sight) -> Situation | None:
    """The same, told by its job first."""
    return booting(baton, age, word, sight, standing)


def running(standing: Standing, sight: Sight, age: Age, noted: Noted) -> Situation:
    """A run whose job an agent of ours had."""
    now = NOW + _AFTER[age]
    run = _run().bound(VM, now=NOW).running(now=NOW, learnt={})
    long_ago = POLICY.cancel_grace + POLICY.finish_grace
    if noted is not Noted.NO:
        run = run.noted(job_over_at=now - (long_ago if noted is Noted.LONG else timedelta()))
    return _situation(run, standing, sight, now=now)


def finishing(standing: Standing, sight: Sight, age: Age, asked: Asked) -> Situation:
    """A run that was to be finished."""
    now = NOW + _AFTER[age]
    at = now - (FINISH_SETTLES_AFTER if asked is Asked.BEFORE else timedelta())
    run = _run().bound(VM, now=NOW).noted(baton=Baton.TRACKER).finishing("because", now=at)
    return _situation(run, standing, sight, now=now)
