"""What becomes of a run: one pure function from facts to a decision.

Facts may be missing. A job state, VM or mailbox that could not be read is None (or `Baton.UNKNOWN`), and
absence never proves anything: the decision then is to keep the run and look again.

The baton decides who owns the job, so two-step decisions come as two calls: the first says TAKE_BATON, and
once it is known who got it, the function is asked again.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from agent_stack.domain import notices
from agent_stack.domain.errors import BugError
from agent_stack.domain.notices import Notice
from agent_stack.domain.policy import Policy
from agent_stack.domain.runs import Run
from agent_stack.domain.states import (
    AGENTS,
    BOOT_FAILED,
    CANCELLED,
    GOING,
    GONE,
    OURS,
    OVER,
    Baton,
    BootStage,
    JobState,
    Outcome,
    RunState,
    VmState,
)
from agent_stack.domain.vms import Mail, Vm

FINISH_SETTLES_AFTER = timedelta(seconds=30)
"""How long after asking Buildkite to finish a job a state that is still ours means the request never arrived.

Longer than the client's total time-out, so no request of ours can still be under way.
"""

ABSENCE_GRACE = timedelta(minutes=10)
"""A fresh instance may be missing from EC2's answers for minutes. Source: EC2's eventual-consistency page."""


class Action(StrEnum):
    """What to do with a run in this tick."""

    KEEP = "keep"
    RUN = "run"  # record that the agent has the job
    NOTE_OVER = "note_over"  # record when the job was over while its VM is up
    EXTEND = "extend"  # reserve again
    REISSUE = "reissue"  # put another credential into the mailbox
    TAKE_BATON = "take_baton"  # then decide again
    TERMINATE = "terminate"  # the VM, and look again
    HAND_BACK = "hand_back"  # terminate the VM; the dispatcher finds another
    FINISH = "finish"  # terminate the VM if there is one; finish the job with the reason
    END = "end"  # terminate the VM if it is up; the run is over


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that is known of one run at one moment.

    Attributes:
        vm: the run's VM; None when EC2 did not show it.
        described: EC2 answered in full; without that a missing VM means nothing at all.
        job_state: None when it could not be had.
        mail: None when the mailbox was not, or could not be, read.
    """

    run: Run
    vm: Vm | None
    described: bool
    job_state: JobState | None
    mail: Mail | None
    boot_timeout: timedelta
    policy: Policy
    now: datetime

    @property
    def baton(self) -> Baton:
        """Who holds the credential, by the freshest word we have."""
        if self.run.baton is not Baton.IN_BOX:
            return self.run.baton  # once taken it never goes back
        return Baton.UNKNOWN if self.mail is None else self.mail.baton

    @property
    def vm_going(self) -> bool:
        """EC2 says that the VM will not run a job any more."""
        return self.vm is not None and self.vm.state in GOING

    @property
    def vm_gone(self) -> bool:
        """EC2 says that nothing runs there any more."""
        return self.vm is not None and self.vm.state in GONE

    @property
    def vm_long_absent(self) -> bool:
        """EC2 answered in full and did not show the VM, long after every fresh VM is shown."""
        launched = self.run.binding.launched_at if self.run.binding else self.run.state_entered_at
        return self.vm is None and self.described and self.now - launched > ABSENCE_GRACE

    @property
    def past_lifetime(self) -> bool:
        """The VM's own timer has ended it by now, whatever we can see."""
        launched = self.run.binding.launched_at if self.run.binding else self.run.state_entered_at
        return self.now - launched > self.policy.max_lifetime + ABSENCE_GRACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do, why, and what to tell the build page."""

    action: Action
    reason: str = ""
    outcome: Outcome | None = None
    notices: tuple[Notice, ...] = ()


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


def _decide_reserved(s: Situation) -> Decision:
    """No VM is bound: the dispatcher's, unless the job moved on or we gave it up."""
    if s.job_state in CANCELLED or s.job_state in OVER:
        outcome = Outcome.CANCELLED if s.job_state in CANCELLED else Outcome.RELEASED
        return Decision(action=Action.END, outcome=outcome, reason=f"the job is {s.job_state}")
    if s.job_state in AGENTS:
        return Decision(action=Action.END, outcome=Outcome.RELEASED, reason="an agent elsewhere has the job")
    if s.job_state in OURS and s.run.give_up is not None:
        return Decision(action=Action.FINISH, outcome=Outcome.FAILED, reason=s.run.give_up)
    return Decision(action=Action.KEEP)


def _settle_finish(s: Situation, asked_at: datetime) -> Decision:
    """Buildkite was asked to finish the job and we never learnt the answer: only the job's state tells."""
    if s.job_state in OVER:
        return Decision(action=Action.END, outcome=Outcome.FAILED, reason=s.run.give_up or "")
    if s.job_state in AGENTS or s.job_state is JobState.CANCELING:
        return Decision(action=Action.END, outcome=Outcome.RELEASED, reason=f"the job is {s.job_state}")
    if s.job_state in OURS and s.now - asked_at >= FINISH_SETTLES_AFTER:
        return Decision(action=Action.FINISH, outcome=Outcome.FAILED, reason=s.run.give_up or "")
    return Decision(action=Action.KEEP, reason="waiting to learn whether the job was finished")


def _decide_booting(s: Situation) -> Decision:
    if s.job_state is None or (s.job_state not in OURS | AGENTS | OVER | CANCELLED):
        return Decision(action=Action.KEEP, reason="the job's state is not known")
    if s.job_state in OURS:
        return _booting_for_a_waiting_job(s)
    match s.baton:
        case Baton.VM:
            return Decision(action=Action.RUN, reason=f"the job is {s.job_state}")
        case Baton.IN_BOX:
            return Decision(action=Action.TAKE_BATON, reason=f"the job is {s.job_state}")
        case Baton.TRACKER:
            return _retire_unused(s)
        case Baton.UNKNOWN:
            return Decision(action=Action.KEEP, reason="the mailbox could not be read")


def _retire_unused(s: Situation) -> Decision:
    """The job needs no VM of ours any more, and no agent of ours can get it: save the cost."""
    if s.job_state in CANCELLED:
        return Decision(
            action=Action.END,
            outcome=Outcome.CANCELLED,
            reason=f"the job is {s.job_state}",
            notices=(notices.cancelled(s.run),),
        )
    elsewhere = s.job_state in AGENTS
    reason = "an agent elsewhere has the job" if elsewhere else f"the job is {s.job_state}"
    return Decision(action=Action.END, outcome=Outcome.RELEASED, reason=reason)


def _booting_for_a_waiting_job(s: Situation) -> Decision:
    age = s.now - s.run.state_entered_at
    failure = _boot_failure(s, age)
    if failure is not None:
        return _boot_failed(s, failure, age)
    if s.run.reservation_lost:
        return _reservation_lost(s)
    told = _boot_notices(s)
    if s.job_state is JobState.SCHEDULED:
        return Decision(action=Action.EXTEND, reason="the reservation lapsed", notices=told)
    until = s.run.reserved_until
    if until is None or until - s.now < s.policy.reservation / 2:
        return Decision(action=Action.EXTEND, reason="under half of the reservation is left", notices=told)
    if s.baton is Baton.VM and s.mail is not None and s.mail.stage is BootStage.CREDENTIAL_LOST:
        return Decision(action=Action.REISSUE, reason="the VM lost the credential", notices=told)
    return Decision(action=Action.KEEP, notices=told)


def _boot_failure(s: Situation, age: timedelta) -> str | None:
    """Why no agent will come from this boot, or None while one still may."""
    if s.mail is not None and s.mail.stage in BOOT_FAILED:
        said = f": {s.mail.detail}" if s.mail.detail else ""
        if s.mail.stage is BootStage.AGENT_EXITED:
            return f"its agent ended without taking the job{said}"
        return f"its boot program failed{said}"
    if s.vm_going and s.vm is not None:
        return f"EC2 shows it {s.vm.state}" + (f" ({s.vm.reason})" if s.vm.reason else "")
    if age >= s.boot_timeout:
        return f"no agent after {round(age.total_seconds())} s"
    return None


def _boot_failed(s: Situation, failure: str, age: timedelta) -> Decision:
    match s.baton:
        case Baton.IN_BOX:
            return Decision(action=Action.TAKE_BATON, reason=failure)
        case Baton.UNKNOWN:
            return Decision(action=Action.KEEP, reason="the mailbox could not be read")
        case Baton.TRACKER:
            return _try_again(s, failure)
        case Baton.VM:
            # The VM has the credential, so an agent may still register. Its own word that the agent exited, or
            # EC2's that nothing runs there, ends that; Buildkite's state, read after both, showed no agent.
            exited = s.mail is not None and s.mail.stage in BOOT_FAILED
            if s.vm_gone or exited or (s.vm is None and s.past_lifetime):
                return _try_again(s, failure)
            if age >= 2 * s.boot_timeout and not s.vm_going:
                return Decision(action=Action.TERMINATE, reason=failure)
            return Decision(action=Action.KEEP, reason="the VM has the credential; waiting for its word or its end")


def _try_again(s: Situation, failure: str) -> Decision:
    if s.run.attempt < s.policy.max_launch_attempts:
        return Decision(
            action=Action.HAND_BACK,
            reason=failure,
            notices=(notices.relaunch(s.run, failure, s.policy.max_launch_attempts),),
        )
    where = f" Last VM: {s.run.binding.instance_id}." if s.run.binding else ""
    return Decision(
        action=Action.FINISH,
        outcome=Outcome.FAILED,
        reason=f"No agent could be started in {s.run.attempt} attempts: {failure}.{where}",
    )


def _reservation_lost(s: Situation) -> Decision:
    match s.baton:
        case Baton.IN_BOX:
            return Decision(action=Action.TAKE_BATON, reason="the reservation could not be regained")
        case Baton.TRACKER:
            return Decision(action=Action.END, outcome=Outcome.RELEASED, reason="the reservation could not be regained")
        case Baton.VM | Baton.UNKNOWN:
            return Decision(action=Action.KEEP, reason="the VM may still acquire the job")


def _boot_notices(s: Situation) -> tuple[Notice, ...]:
    told = [notices.vm_requested(s.run)]
    if s.vm is not None and s.vm.state is VmState.RUNNING:
        told.append(notices.vm_running(s.run, s.now))
    slow = notices.slow_boot(s.run, s.now, s.boot_timeout)
    if slow is not None:
        told.append(slow)
    return tuple(told)


def _decide_running(s: Situation) -> Decision:
    """An agent of ours had the job. Silence of the mailbox means nothing from here on."""
    if s.job_state in OVER:
        return _after_the_job(s)
    if s.vm_gone:
        why = s.vm.reason if s.vm is not None else ""
        return Decision(
            action=Action.END,
            outcome=Outcome.LOST,
            reason=f"the VM went away under its agent: {why}",
            notices=(notices.vm_lost(s.run, why),),
        )
    if s.vm is None and s.past_lifetime:
        return Decision(action=Action.END, outcome=Outcome.LOST, reason="absent past its lifetime")
    if s.job_state is JobState.CANCELING:
        return _cancelling(s)
    return Decision(action=Action.KEEP)


def _cancelling(s: Situation) -> Decision:
    if s.run.job_over_at is None:
        return Decision(action=Action.NOTE_OVER, reason="the agent is cancelling the job")
    if s.now - s.run.job_over_at >= s.policy.cancel_grace and not s.vm_going and s.vm is not None:
        return Decision(action=Action.TERMINATE, reason="the agent did not end the cancelled job in time")
    return Decision(action=Action.KEEP)


def _after_the_job(s: Situation) -> Decision:
    if s.vm_going or s.vm_long_absent:
        outcome = Outcome.CANCELLED if s.job_state is JobState.CANCELED else Outcome.FINISHED
        return Decision(action=Action.END, outcome=outcome, reason=f"the job is {s.job_state}")
    if s.run.job_over_at is None:
        return Decision(action=Action.NOTE_OVER, reason=f"the job is {s.job_state}")
    if s.now - s.run.job_over_at >= s.policy.finish_grace:
        return Decision(action=Action.TERMINATE, reason="still up after its job")
    return Decision(action=Action.KEEP)
