"""What becomes of a run: one pure function from enumerations to a decision.

`docs/development/decisions.md` says what it decides: the tables are written by hand, and a test proves every
combination.

Facts may be missing; each enumeration of a `Situation` has a value for that, and it never proves anything. The
credential holder owns the job, so two-step decisions come as two calls: the first says REVOKE, and once it is known who
has the credential, the function is asked again. Revoking is a conditional write that decides by itself, so a mailbox
that could not be read is as good as one that still holds the credential.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from agent_stack.domain import notices
from agent_stack.domain.attempts import Failure, FailureKind, attempts_words, failure_kind
from agent_stack.domain.errors import BugError
from agent_stack.domain.notices import Notice, duration
from agent_stack.domain.situations import (
    FINISH_SETTLES_AFTER,
    UNSEEN,
    BootAge,
    BootReport,
    JobPhase,
    Situation,
    VmVisibility,
)
from agent_stack.domain.states import BootStage, CredentialHolder, JobState, Outcome, RunState, VmState

_REVOKED = Failure(kind=FailureKind.REVOKED, words="its credential had to be taken back")


class Action(StrEnum):
    """What to do with a run in this cycle."""

    KEEP = "keep"
    RUN = "run"  # record that the job is our VM's agent's
    RECORD_JOB_OVER = "note_over"  # record when the job was over while its VM is up
    EXTEND = "extend"  # reserve again
    REISSUE = "reissue"  # put another credential into the mailbox
    REVOKE = "take_baton"  # then decide again
    TERMINATE = "terminate"  # the VM, and look again
    REQUEUE = "hand_back"  # terminate the VM; the dispatcher finds another
    FINISH = "finish"  # terminate the VM if there is one; finish the job with the reason
    END = "end"  # terminate the VM if it is up; the run is over


def ends_the_vm(action: Action) -> bool:
    """Whether the VM is terminated, if it is up. There is no way back from that."""
    match action:
        case Action.TERMINATE | Action.REQUEUE | Action.FINISH | Action.END:
            return True
        case Action.KEEP | Action.RUN | Action.RECORD_JOB_OVER | Action.EXTEND | Action.REISSUE | Action.REVOKE:
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do, why, and what to tell the build page.

    Attributes:
        outcome: how the run ends, where it does.
        failure: why no agent came from its VM, where that is the reason.
        odd: nothing is done, and an operator may want to know.
    """

    action: Action
    reason: str = ""
    outcome: Outcome | None = None
    failure: Failure | None = None
    notices: tuple[Notice, ...] = ()
    odd: bool = False


def decide(s: Situation) -> Decision:
    """The decision for one run. Pure; total over every combination of states."""
    if s.run.finishing_at is not None and s.run.state is not RunState.ENDED:
        return _settle_finish(s, s.run.finishing_at)
    match s.run.state:
        case RunState.RESERVED:
            return _decide_reserved(s)
        case RunState.BOOTING:
            return _decide_booting(s)
        case RunState.RUNNING:
            return _decide_running(s)
        case RunState.ENDED:
            raise BugError(f"an ended run is not decided again: {s.run.job_id}")


# --- no VM ---


def _decide_reserved(s: Situation) -> Decision:
    """No VM is bound: the dispatcher's, unless the job moved on or we gave it up."""
    match s.job_phase:
        case JobPhase.CANCELING | JobPhase.CANCELED:
            return _end(Outcome.CANCELLED, f"the job is {s.job_state}")
        case JobPhase.NEVER_RAN | JobPhase.OVER:
            return _end(Outcome.RELEASED, f"the job is {s.job_state}")
        case JobPhase.AGENT:
            return _end(Outcome.RELEASED, "an agent elsewhere has the job")
        case JobPhase.RESERVED | JobPhase.LAPSED:
            if s.run.failure_reason is not None:
                return Decision(action=Action.FINISH, outcome=Outcome.FAILED, reason=s.run.failure_reason)
            return Decision(action=Action.KEEP, reason="the dispatcher finds it a VM")
        case JobPhase.FORGOTTEN | JobPhase.UNKNOWN:
            return _unknown(s)


def _settle_finish(s: Situation, asked_at: datetime) -> Decision:
    """Buildkite was asked to finish the job and we never learnt the answer: only the job's state tells."""
    match s.job_phase:
        case JobPhase.CANCELED | JobPhase.NEVER_RAN | JobPhase.OVER:
            return _end(Outcome.FAILED, s.run.failure_reason or "")
        case JobPhase.AGENT | JobPhase.CANCELING:
            return _end(Outcome.RELEASED, f"the job is {s.job_state}")
        case JobPhase.RESERVED | JobPhase.LAPSED if s.now - asked_at >= FINISH_SETTLES_AFTER:
            return Decision(
                action=Action.FINISH,
                outcome=Outcome.FAILED,
                reason=s.run.failure_reason or "",
                failure=_known_failure(s),
            )
        case JobPhase.FORGOTTEN:
            return _unknown(s)
        case JobPhase.UNKNOWN if s.boot_age is BootAge.BEYOND:
            return _unknown(s)
        case _:
            return Decision(action=Action.KEEP, reason="waiting to learn whether the job was finished")


def _known_failure(s: Situation) -> Failure | None:
    """How the VM of a run that is being finished failed; None when there is none."""
    return None if s.run.binding is None else _boot_failure(s) or _REVOKED


def _unknown(s: Situation) -> Decision:
    """Buildkite does not tell, or names a state that is inert.

    With a VM that is up or going, its agent may have the job. Without one, several complete answers in a row that do
    not name the job, as of a build that was deleted, end the run. Failed answers end it when no VM can live any more.
    """
    without_vm = s.run.binding is None or s.visibility in (VmVisibility.GONE, VmVisibility.MISSING)
    if s.job_phase is JobPhase.FORGOTTEN and without_vm:
        return _end(Outcome.RELEASED, "nothing runs for the job, and Buildkite does not name it any more")
    if s.boot_age is BootAge.BEYOND and s.visibility is not VmVisibility.UP:
        return _end(Outcome.RELEASED, "nothing was heard of the job for longer than a VM lives")
    return Decision(action=Action.KEEP, reason="the job's state is not known")


# --- a VM, and no agent seen ---


def _decide_booting(s: Situation) -> Decision:
    if s.job_phase in (JobPhase.FORGOTTEN, JobPhase.UNKNOWN):
        return _unknown(s)
    if s.job_phase in (JobPhase.RESERVED, JobPhase.LAPSED):
        return _booting_for_a_waiting_job(s)
    match s.credential_holder:
        case CredentialHolder.VM:
            told = (*notices.took_standby(s), *notices.mirrors_missing(s))
            return Decision(action=Action.RUN, reason=f"the job is {s.job_state}", notices=told)
        case CredentialHolder.MAILBOX | CredentialHolder.UNKNOWN:
            return Decision(action=Action.REVOKE, reason=f"the job is {s.job_state}")
        case CredentialHolder.TRACKER:
            return _retire_unused(s)


def _retire_unused(s: Situation) -> Decision:
    """The job needs no VM of ours any more, and no agent of ours can get it: save the cost."""
    match s.job_phase:
        case JobPhase.CANCELING | JobPhase.CANCELED:
            return Decision(
                action=Action.END,
                outcome=Outcome.CANCELLED,
                reason=f"the job is {s.job_state}",
                notices=(notices.cancelled(s),),
            )
        case JobPhase.AGENT:
            return _end(Outcome.RELEASED, "an agent elsewhere has the job")
        case _:
            return _end(Outcome.RELEASED, f"the job is {s.job_state}")


def _booting_for_a_waiting_job(s: Situation) -> Decision:
    failure = _boot_failure(s)
    if s.credential_holder is CredentialHolder.TRACKER:
        return _try_again(s, failure or _REVOKED)
    if failure is None and not s.run.reservation_lost:
        return _coming_up(s)
    if s.credential_holder is not CredentialHolder.VM:
        reason = failure.words if failure is not None else "the reservation could not be regained"
        return Decision(action=Action.REVOKE, reason=reason)
    if failure is None:
        return Decision(action=Action.KEEP, reason="the reservation is lost; the VM may still acquire the job")
    return _left_to_the_vm(s, failure)


def _boot_failure(s: Situation) -> Failure | None:
    """Why no agent will come from this boot, or None while one still may."""
    if s.boot_report is BootReport.NO_AGENT and s.mailbox_status is not None:
        said = f": {s.mailbox_status.detail}" if s.mailbox_status.detail else ""
        if s.spot_interrupted:
            return Failure(kind=FailureKind.SPOT, words=f"EC2 interrupted it (spot){said}")
        if s.mailbox_status.stage is BootStage.AGENT_EXITED:
            return Failure(kind=FailureKind.AGENT, words=f"its agent ended without taking the job{said}")
        return Failure(kind=FailureKind.BOOT_PROGRAM, words=f"its boot program failed{said}")
    if s.visibility in (VmVisibility.GOING, VmVisibility.GONE) and s.vm is not None:
        because = f" ({s.vm.reason})" if s.vm.reason else ""
        return Failure(kind=failure_kind(s.vm.reason), words=f"EC2 shows it {s.vm.state}{because}")
    if s.boot_age is not BootAge.EARLY:
        return Failure(kind=FailureKind.TIMEOUT, words=f"no agent after {duration(s.booting_for)}")
    return None


def _left_to_the_vm(s: Situation, failure: Failure) -> Decision:
    """The VM has the credential, so an agent may still register.

    Its own word that there is none, or EC2's that nothing runs there, ends that; Buildkite's state, read after both,
    showed no agent.
    """
    if (
        s.boot_report is BootReport.NO_AGENT
        or s.visibility is VmVisibility.GONE
        or (s.visibility in UNSEEN and s.boot_age is BootAge.BEYOND)
    ):
        return _try_again(s, failure)
    if s.boot_age in (BootAge.OVERDUE, BootAge.BEYOND) and s.visibility in (VmVisibility.UP, VmVisibility.HIDDEN):
        return Decision(action=Action.TERMINATE, reason=failure.words)
    notices_sent = (
        (notices.overdue(s), *notices.vm_log(s))
        if s.boot_age is BootAge.LATE and s.visibility in (VmVisibility.UP, VmVisibility.HIDDEN)
        else ()
    )
    return Decision(
        action=Action.KEEP, reason="the VM has the credential; waiting for its word or its end", notices=notices_sent
    )


def _try_again(s: Situation, failure: Failure) -> Decision:
    """No agent of ours can get the job from that VM any more."""
    if s.run.reservation_lost:
        return _end(Outcome.RELEASED, "the reservation could not be regained")
    if s.run.counted_attempts < s.policy.max_launch_attempts:
        return Decision(
            action=Action.REQUEUE,
            reason=failure.words,
            failure=failure,
            notices=(notices.relaunch(s, failure), *notices.vm_log(s)),
        )
    tries = attempts_words(s.run.counted_attempts, lost_standby=not s.run.may_stand_by)
    return Decision(
        action=Action.FINISH,
        outcome=Outcome.FAILED,
        reason=f"No agent could be started in {tries}: {failure.words}.",
        failure=failure,
    )


def _coming_up(s: Situation) -> Decision:
    notices_sent = _boot_notices(s)
    if s.job_phase is JobPhase.LAPSED:
        return Decision(action=Action.EXTEND, reason="the reservation lapsed", notices=notices_sent)
    if _under_half_is_left(s):
        return Decision(action=Action.EXTEND, reason="under half of the reservation is left", notices=notices_sent)
    if s.credential_holder is CredentialHolder.VM and s.boot_report is BootReport.LOST_CREDENTIAL:
        return Decision(action=Action.REISSUE, reason="the VM lost the credential", notices=notices_sent)
    return Decision(action=Action.KEEP, reason="the VM is coming up", notices=notices_sent)


def _under_half_is_left(s: Situation) -> bool:
    until = s.run.reserved_until
    left = timedelta() if until is None else until - s.now
    return left < s.policy.reservation / 2


def _boot_notices(s: Situation) -> tuple[Notice, ...]:
    notices_sent = [notices.vm_requested(s)]
    if s.vm is not None and s.vm.state is VmState.RUNNING:
        notices_sent.append(notices.vm_running(s))
    slow = notices.slow_boot(s)
    if slow is not None:
        notices_sent.append(slow)
    return tuple(notices_sent)


# --- an agent of ours had the job ---


def _decide_running(s: Situation) -> Decision:
    """Silence of the mailbox means nothing from here on."""
    match s.job_phase:
        case JobPhase.FORGOTTEN | JobPhase.UNKNOWN:
            return _unknown(s)
        case JobPhase.CANCELED | JobPhase.NEVER_RAN | JobPhase.OVER:
            return _after_the_job(s)
        case JobPhase.CANCELING:
            return _cancelling(s)
        case _ if _is_lost(s):
            return Decision(
                action=Action.END,
                outcome=Outcome.LOST,
                reason="the VM went away under its agent" + (f": {s.vm.reason}" if s.vm and s.vm.reason else ""),
                notices=(notices.vm_lost(s), *notices.vm_log(s)) if s.job_phase is JobPhase.AGENT else (),
            )
        case JobPhase.AGENT:
            return Decision(action=Action.KEEP, reason="the job is the agent's")
        case _:
            # Buildkite's own retry is a new job with a new id, so nobody has an explanation for this one.
            return Decision(
                action=Action.KEEP, reason=f"the job is {s.job_state} again after an agent had it", odd=True
            )


def _is_lost(s: Situation) -> bool:
    return s.visibility is VmVisibility.GONE or (s.visibility in UNSEEN and s.boot_age is BootAge.BEYOND)


def _cancelling(s: Situation) -> Decision:
    if _is_lost(s):
        return _end(Outcome.CANCELLED, "the VM went away while its agent was cancelling the job")
    if s.run.job_over_at is None:
        return Decision(action=Action.RECORD_JOB_OVER, reason="the agent is cancelling the job")
    if s.now - s.run.job_over_at >= s.policy.cancel_grace and s.visibility is VmVisibility.UP:
        return Decision(
            action=Action.TERMINATE,
            reason="the agent did not end the cancelled job in time",
            notices=(notices.cancel_forced(s),),
        )
    return Decision(action=Action.KEEP, reason="the agent is cancelling the job")


def _after_the_job(s: Situation) -> Decision:
    """The VM ends itself after its agent; one that does not is ended."""
    over_at = s.run.job_over_at
    past_grace = over_at is not None and s.now - over_at >= s.policy.finish_grace
    if s.visibility in (VmVisibility.GOING, VmVisibility.GONE) or (s.visibility is VmVisibility.MISSING and past_grace):
        return _end(_outcome_of(s.job_state), f"the job is {s.job_state}")
    if over_at is None:
        return Decision(action=Action.RECORD_JOB_OVER, reason=f"the job is {s.job_state}")
    if past_grace and s.visibility is VmVisibility.UP:
        return Decision(action=Action.TERMINATE, reason="still up after its job")
    return Decision(action=Action.KEEP, reason="the VM is about to end itself")


def _outcome_of(state: JobState | None) -> Outcome:
    if state is JobState.CANCELED:
        return Outcome.CANCELLED
    return Outcome.RELEASED if state in (JobState.EXPIRED, JobState.SKIPPED, JobState.BROKEN) else Outcome.FINISHED


def _end(outcome: Outcome, reason: str) -> Decision:
    return Decision(action=Action.END, outcome=outcome, reason=reason)
