"""A standby VM that a job loses: it is no attempt that MaxLaunchAttempts counts, and the job gets no other one."""

from dataclasses import replace
from datetime import timedelta

from agent_stack.domain import notices
from agent_stack.domain.attempts import Failure, FailureKind, PriorUsage
from agent_stack.domain.decisions import Action, decide
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import Situation
from agent_stack.domain.states import CredentialHolder, JobState, Outcome, VmState
from agent_stack.domain.vms import MailboxStatus, Vm
from tests.simulator.clock import EPOCH
from tests.unit.values import a_job, a_policy, a_run, a_vm

ONE_ATTEMPT = a_policy(max_launch_attempts=1)
FAILURE = Failure(kind=FailureKind.TIMEOUT, words="silent")
STOOD_BY = replace(a_vm(1), hold=timedelta(hours=1))


def lost(run: Run, vm: Vm) -> Situation:
    """That run on that VM, which EC2 shows terminated."""
    taken = run.bound(vm, now=EPOCH).with_facts(credential_holder=CredentialHolder.TRACKER)
    return Situation(
        run=taken,
        vm=replace(vm, state=VmState.TERMINATED),
        described=True,
        job_state=JobState.RESERVED,
        mailbox_status=MailboxStatus(credential_holder=CredentialHolder.TRACKER),
        boot_timeout=timedelta(minutes=10),
        policy=ONE_ATTEMPT,
        now=EPOCH + timedelta(seconds=20),
    )


def test_a_standby_vm_that_is_lost_is_not_the_only_attempt_of_its_job() -> None:
    first = lost(a_run(), STOOD_BY)
    decided = decide(first)
    assert decided.action is Action.REQUEUE
    assert any("(attempt 1 of 1)" in notice.text for notice in decided.notices)
    back = first.run.requeued(FAILURE, now=EPOCH)
    assert not back.may_stand_by
    second = lost(back, a_vm(2))
    assert "(attempt 1 of 1)" in notices.vm_requested(second).text
    decided = decide(second)
    assert decided.action is Action.FINISH
    assert "in one attempt and on a standby VM" in decided.reason


def test_it_gets_no_other_one_however_often_it_is_tried() -> None:
    """A run remembers its latest attempts only."""
    run = a_run().bound(STOOD_BY, now=EPOCH).requeued(FAILURE, now=EPOCH)
    for number in range(2, 6):
        run = run.bound(a_vm(number), now=EPOCH).requeued(FAILURE, now=EPOCH)
    assert (run.may_stand_by, run.attempt, run.counted_attempts) == (False, 5, 4)


def test_a_job_that_comes_back_in_another_run_has_not_used_up_its_attempt() -> None:
    released = a_run().bound(STOOD_BY, now=EPOCH)
    ended = released.ended(Outcome.RELEASED, now=EPOCH)
    earlier = PriorUsage(attempts=ended.attempt, lost_standby=ended.lost_standby)
    assert earlier.counted == 0
    again = Run.of(a_job(), class_name=ended.class_name, now=EPOCH, failure_reason=None, earlier=earlier)
    assert (again.may_stand_by, again.counted_attempts) == (False, 0)


def test_a_standby_vm_whose_agent_had_the_job_is_not_lost() -> None:
    ran = a_run().bound(STOOD_BY, now=EPOCH).running(now=EPOCH, observed_moments={})
    assert not ran.ended(Outcome.FINISHED, now=EPOCH).lost_standby


def test_what_an_earlier_version_recorded_of_it_counts_too() -> None:
    """It has the attempt, and no mark of its own."""
    back = replace(a_run().bound(STOOD_BY, now=EPOCH).requeued(FAILURE, now=EPOCH), lost_standby=False)
    assert (back.may_stand_by, back.counted_attempts) == (False, 0)
    assert back.bound(a_vm(2), now=EPOCH).ended(Outcome.RELEASED, now=EPOCH).lost_standby
