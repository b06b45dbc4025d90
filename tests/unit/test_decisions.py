"""The decision table: what becomes of a run, row by row of docs and design."""

from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from agent_stack.domain.decisions import ABSENCE_GRACE, FINISH_SETTLES_AFTER, Action, Decision, Situation, decide
from agent_stack.domain.runs import Run
from agent_stack.domain.states import AGENTS, CANCELLED, OURS, OVER, Baton, BootStage, JobState, Outcome, VmState
from agent_stack.domain.vms import Mail
from tests.simulator.clock import EPOCH
from tests.unit.values import a_policy, a_run, a_vm

BOOT_TIMEOUT = timedelta(seconds=300)
A_WHILE = timedelta(seconds=30)
UNTIL = EPOCH + timedelta(seconds=900)


def reserved_run() -> Run:
    return a_run().reserved(now=EPOCH, until=UNTIL)


def booting_run(baton: Baton = Baton.IN_BOX) -> Run:
    return reserved_run().bound(a_vm(), now=EPOCH).noted(baton=baton)


def running_run() -> Run:
    return booting_run().running(now=EPOCH)


def situation(run: Run, job_state: JobState | None, **changes: object) -> Situation:
    mail = Mail(baton=run.baton if run.baton is not Baton.UNKNOWN else Baton.IN_BOX)
    values: dict[str, Any] = {
        "run": run,
        "vm": a_vm(state=VmState.RUNNING) if run.binding else None,
        "described": True,
        "job_state": job_state,
        "mail": mail if run.binding else None,
        "boot_timeout": BOOT_TIMEOUT,
        "policy": a_policy(),
        "now": EPOCH + A_WHILE,
        **changes,
    }
    return Situation(**values)


def decision(run: Run, job_state: JobState | None, **changes: object) -> Decision:
    return decide(situation(run, job_state, **changes))


@pytest.mark.parametrize("state", sorted(OURS))
def test_a_reserved_run_without_a_vm_is_the_dispatchers(state: JobState) -> None:
    assert decision(reserved_run(), state).action is Action.KEEP


@pytest.mark.parametrize("state", sorted(OVER))
def test_a_job_that_is_over_ends_a_run_without_a_vm(state: JobState) -> None:
    decided = decision(reserved_run(), state)
    outcome = Outcome.CANCELLED if state in CANCELLED else Outcome.RELEASED
    assert (decided.action, decided.outcome) == (Action.END, outcome)


@pytest.mark.parametrize("state", sorted(AGENTS))
def test_a_job_that_another_agent_has_is_released(state: JobState) -> None:
    assert decision(reserved_run(), state).outcome is Outcome.RELEASED


def test_a_run_given_up_is_finished_with_its_reason() -> None:
    decided = decision(reserved_run().giving_up("no VM"), JobState.RESERVED)
    assert (decided.action, decided.reason) == (Action.FINISH, "no VM")


def test_a_boot_is_told_once_it_is_under_way() -> None:
    decided = decision(booting_run(), JobState.RESERVED)
    assert decided.action is Action.KEEP
    assert [notice.kind for notice in decided.notices] == ["vm_requested", "vm_running"]


def test_a_reservation_is_extended_when_under_half_is_left() -> None:
    late = UNTIL - timedelta(seconds=449)
    assert decision(booting_run(), JobState.RESERVED, now=late, boot_timeout=timedelta(hours=1)).action is Action.EXTEND
    early = UNTIL - timedelta(seconds=451)
    assert decision(booting_run(), JobState.RESERVED, now=early, boot_timeout=timedelta(hours=1)).action is Action.KEEP


def test_a_lapsed_reservation_is_asked_for_again() -> None:
    assert decision(booting_run(), JobState.SCHEDULED).action is Action.EXTEND


def test_a_reservation_lost_for_good_takes_the_baton_and_then_releases() -> None:
    lost = booting_run().noted(reservation_lost=True)
    assert decision(lost, JobState.SCHEDULED).action is Action.TAKE_BATON
    held = lost.noted(baton=Baton.TRACKER)
    assert decision(held, JobState.SCHEDULED).outcome is Outcome.RELEASED
    assert decision(lost.noted(baton=Baton.VM), JobState.SCHEDULED).action is Action.KEEP


@pytest.mark.parametrize(
    "failure",
    [
        {"now": EPOCH + BOOT_TIMEOUT},
        {"vm": a_vm(state=VmState.TERMINATED, reason="Server.SpotInstanceTermination")},
        {"vm": a_vm(state=VmState.STOPPING)},
        {"mail": Mail(baton=Baton.IN_BOX, stage=BootStage.FAILED, detail="no network")},
    ],
)
def test_a_failed_boot_takes_the_baton_first(failure: dict[str, object]) -> None:
    assert decision(booting_run(), JobState.RESERVED, **failure).action is Action.TAKE_BATON


def test_with_the_baton_a_failed_boot_is_handed_back_until_the_attempts_are_used_up() -> None:
    run = booting_run(Baton.TRACKER)
    late = EPOCH + BOOT_TIMEOUT
    assert decision(run, JobState.RESERVED, now=late).action is Action.HAND_BACK
    decided = decision(run, JobState.RESERVED, now=late, policy=a_policy(max_launch_attempts=1))
    assert (decided.action, decided.outcome) == (Action.FINISH, Outcome.FAILED)
    assert "i-" in decided.reason


def test_without_the_baton_a_failed_boot_waits_for_the_vms_word_or_its_end() -> None:
    run = booting_run(Baton.VM)
    assert decision(run, JobState.RESERVED, now=EPOCH + BOOT_TIMEOUT).action is Action.KEEP
    assert decision(run, JobState.RESERVED, now=EPOCH + 2 * BOOT_TIMEOUT).action is Action.TERMINATE
    exited = Mail(baton=Baton.VM, stage=BootStage.AGENT_EXITED, detail="27")
    assert decision(run, JobState.RESERVED, mail=exited).action is Action.HAND_BACK
    going = a_vm(state=VmState.SHUTTING_DOWN)
    assert decision(run, JobState.RESERVED, vm=going).action is Action.KEEP
    assert decision(run, JobState.RESERVED, vm=a_vm(state=VmState.TERMINATED)).action is Action.HAND_BACK


def test_an_absent_vm_is_not_a_dead_one() -> None:
    assert decision(booting_run(), JobState.RESERVED, vm=None).action is Action.KEEP
    assert decision(running_run(), JobState.RUNNING, vm=None, now=EPOCH + ABSENCE_GRACE * 3).action is Action.KEEP


@pytest.mark.parametrize("state", sorted(AGENTS))
def test_an_agent_that_has_the_job_makes_the_run_running(state: JobState) -> None:
    assert decision(booting_run(Baton.VM), state).action is Action.RUN


@pytest.mark.parametrize("state", sorted(CANCELLED | OVER))
def test_a_job_over_before_its_agent_takes_the_baton_and_ends_the_vm(state: JobState) -> None:
    assert decision(booting_run(), state).action is Action.TAKE_BATON
    decided = decision(booting_run(Baton.TRACKER), state)
    assert decided.action is Action.END
    assert decided.outcome is (Outcome.CANCELLED if state in CANCELLED else Outcome.RELEASED)


def test_a_running_job_is_left_alone() -> None:
    assert decision(running_run(), JobState.RUNNING).action is Action.KEEP
    assert decision(running_run(), JobState.RESERVED).action is Action.KEEP


def test_a_vm_gone_under_its_agent_is_lost_and_never_finished() -> None:
    decided = decision(running_run(), JobState.RUNNING, vm=a_vm(state=VmState.TERMINATED))
    assert (decided.action, decided.outcome) == (Action.END, Outcome.LOST)


def test_a_cancelled_job_has_its_grace_and_then_no_vm() -> None:
    assert decision(running_run(), JobState.CANCELING).action is Action.NOTE_OVER
    noted = running_run().noted(job_over_at=EPOCH)
    assert decision(noted, JobState.CANCELING, now=EPOCH + timedelta(seconds=119)).action is Action.KEEP
    assert decision(noted, JobState.CANCELING, now=EPOCH + timedelta(seconds=120)).action is Action.TERMINATE


@pytest.mark.parametrize("state", sorted(OVER))
def test_a_vm_still_up_after_its_job_has_its_grace(state: JobState) -> None:
    assert decision(running_run(), state).action is Action.NOTE_OVER
    noted = running_run().noted(job_over_at=EPOCH)
    assert decision(noted, state, now=EPOCH + timedelta(seconds=60)).action is Action.TERMINATE
    assert decision(noted, state, vm=a_vm(state=VmState.TERMINATED)).action is Action.END


def test_a_finish_without_an_answer_is_settled_by_the_jobs_state() -> None:
    asked = booting_run(Baton.TRACKER).finishing("because", now=EPOCH)
    assert decision(asked, JobState.FINISHED).outcome is Outcome.FAILED
    assert decision(asked, JobState.RUNNING).outcome is Outcome.RELEASED
    soon, later = EPOCH + FINISH_SETTLES_AFTER / 2, EPOCH + FINISH_SETTLES_AFTER
    assert decision(asked, JobState.RESERVED, now=soon).action is Action.KEEP
    assert decision(asked, JobState.RESERVED, now=later).action is Action.FINISH
    assert decision(asked, None, now=later).action is Action.KEEP


@pytest.mark.parametrize("state", [None, JobState.UNRECOGNISED])
def test_what_is_not_known_decides_nothing(state: JobState | None) -> None:
    for run in (reserved_run(), booting_run(), running_run()):
        assert decision(run, state).action is Action.KEEP


def test_there_is_a_decision_for_everything() -> None:
    """And never one that finishes or hands back a job whose agent may have it."""
    runs = [reserved_run(), *(booting_run(baton) for baton in (Baton.IN_BOX, Baton.VM, Baton.TRACKER)), running_run()]
    vms = [None, *(a_vm(state=state) for state in VmState)]
    mails = [None, *(Mail(baton=baton, stage=stage) for baton in Baton for stage in (None, *BootStage))]
    ages = [timedelta(), BOOT_TIMEOUT, 2 * BOOT_TIMEOUT, timedelta(days=2)]
    count = 0
    for run, state, vm, mail, age in product(runs, (None, *JobState), vms, mails, ages):
        decided = decision(run, state, vm=vm if run.binding else None, mail=mail, now=EPOCH + age)
        count += 1
        if state in AGENTS:
            assert decided.action not in {Action.FINISH, Action.HAND_BACK}
            assert not (decided.action is Action.END and decided.outcome is Outcome.FAILED)
        if decided.action is Action.END:
            assert decided.outcome is not None
    assert count > 10_000


def test_a_vm_that_lost_its_credential_is_given_another() -> None:
    lost = Mail(baton=Baton.VM, stage=BootStage.CREDENTIAL_LOST)
    assert decision(booting_run(), JobState.RESERVED, mail=lost).action is Action.REISSUE
    late = decision(booting_run(), JobState.RESERVED, mail=lost, now=EPOCH + BOOT_TIMEOUT)
    assert late.action is Action.KEEP
    assert decision(booting_run(), JobState.RUNNING, mail=lost).action is Action.RUN
