"""The decision tables of infra/decision_tables.py hold: every combination that Buildkite, EC2 and a VM can show is
decided as the first row says that fits it. docs/development/decisions.md is written from the same rows.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from agent_stack.domain.attempts import Failure, FailureKind
from agent_stack.domain.decisions import Action, Decision, decide
from agent_stack.domain.errors import BugError
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import ABSENCE_GRACE, FINISH_SETTLES_AFTER, JobPhase, Situation, job_phase_of
from agent_stack.domain.states import AGENTS, BootStage, CredentialHolder, JobState, Moment, Outcome, VmState
from agent_stack.domain.vms import MailboxStatus, Vm
from infra import decisions
from infra.decision_tables import AFTER_THE_VM, BOOTING, FINISHING, NO_VM, RUNNING, TABLES, Row, Table, Then
from infra.decision_words import (
    AGENT,
    CANCELED,
    CANCELING,
    FORGOTTEN,
    GOING,
    GONE,
    HIDDEN,
    JOBS,
    MISSING,
    MOVED_ON,
    NEVER_RAN,
    NO_AGENT,
    NO_FAILURE,
    NOT_KNOWN,
    RAN,
    REPORTS,
    RESERVED,
    SCHEDULED,
    TRACKER,
    UNTAKEN,
    UP,
    VM,
    VMS,
    WAITS,
    Asked,
    Boot,
    Forgotten,
    Hold,
    Over,
    Tries,
    Unseen,
)
from tests.simulator.clock import EPOCH
from tests.unit.values import a_policy, a_run, a_vm

BOOT_TIMEOUT = timedelta(seconds=3_000)
"""Longer than EC2 may hide a fresh VM, so that a VM can be missing at every age of its boot."""

POLICY = a_policy()


AGES = {
    Boot.IN_TIME: timedelta(seconds=700),
    Boot.LATE: BOOT_TIMEOUT,
    Boot.TWICE_LATE: 2 * BOOT_TIMEOUT,
    Boot.PAST_LIFETIME: 2 * POLICY.max_lifetime,
}
SHARES = {Hold.OVER_HALF: 0.6, Hold.UNDER_HALF: 0.4, Hold.LOST: 0.9}
ATTEMPTS = {Tries.LEFT: 1, Tries.LAST: POLICY.max_launch_attempts}
OVER_FOR = {
    Over.JUST_SEEN: None,
    Over.WITHIN_GRACE: timedelta(),
    Over.PAST_GRACE: POLICY.cancel_grace + POLICY.finish_grace,
}
ASKED = {Asked.JUST: FINISH_SETTLES_AFTER / 2, Asked.BEFORE: FINISH_SETTLES_AFTER}


# --- how such situations come about ---


def reserved_run() -> Run:
    return a_run().reserved(now=EPOCH, until=EPOCH + POLICY.reservation)


def booting_run(credential_holder: CredentialHolder = CredentialHolder.MAILBOX, attempt: int = 1) -> Run:
    return (
        replace(reserved_run(), attempt=attempt - 1)
        .bound(a_vm(), now=EPOCH)
        .with_facts(credential_holder=credential_holder)
    )


def running_run() -> Run:
    return booting_run().running(now=EPOCH, observed_moments={})


RESERVED_RUN, GIVEN_UP_RUN, RUNNING_RUN = reserved_run(), reserved_run().failing("no VM"), running_run()
BOOTING_RUNS = {
    (credential_holder, tries): booting_run(credential_holder, ATTEMPTS[tries])
    for credential_holder, tries in product(CredentialHolder, Tries)
}
MAILS = {
    (credential_holder, stage): None
    if credential_holder is CredentialHolder.UNKNOWN
    else MailboxStatus(credential_holder=credential_holder, stage=stage)
    for credential_holder, stage in product(CredentialHolder, REPORTS)
}
SHOWN = {state: a_vm(state=state) for state in VmState}


FORGOTTEN_AS = {
    Forgotten.UNNAMED: None,
    Forgotten.UNHEARD: JobState.UNRECOGNISED,
    Forgotten.INERT: JobState.PLATFORM_LIMITED,
}


def situation(run: Run, job_state: JobState | Forgotten | None, **changes: object) -> Situation:
    values: dict[str, Any] = {
        "run": run,
        "vm": a_vm(state=VmState.RUNNING) if run.binding else None,
        "described": True,
        "job_state": FORGOTTEN_AS[job_state] if isinstance(job_state, Forgotten) else job_state,
        "forgotten": isinstance(job_state, Forgotten),
        "mailbox_status": MailboxStatus(credential_holder=run.credential_holder) if run.binding else None,
        "boot_timeout": BOOT_TIMEOUT,
        "policy": POLICY,
        "now": EPOCH + AGES[Boot.IN_TIME],
        **changes,
    }
    return Situation(**values)


def decision(run: Run, job_state: JobState | None, **changes: object) -> Decision:
    return decide(situation(run, job_state, **changes))


def no_vm(cell: dict[str, Any]) -> Situation:
    run = GIVEN_UP_RUN if cell["given_up"] else RESERVED_RUN
    return situation(run, cell["job"], described=True, now=EPOCH + AGES[cell["boot"]])


def seen(cell: dict[str, Any]) -> dict[str, Any]:
    vm: Vm | None = SHOWN.get(cell["vm"])
    return {"vm": vm, "described": cell["vm"] is not Unseen.NOT_DESCRIBED, "now": EPOCH + AGES[cell["boot"]]}


def booting(cell: dict[str, Any]) -> Situation:
    now = EPOCH + AGES[cell["boot"]]
    run = replace(
        BOOTING_RUNS[
            cell["holder"] if cell["holder"] is not CredentialHolder.UNKNOWN else CredentialHolder.MAILBOX,
            cell["tries"],
        ],
        reserved_until=now + POLICY.reservation * SHARES[cell["hold"]],
        reservation_lost=cell["hold"] is Hold.LOST,
    )
    return situation(run, cell["job"], mailbox_status=MAILS[cell["holder"], cell["report"]], **seen(cell))


def after_the_vm(cell: dict[str, Any]) -> Situation:
    gone = {"job": JobState.RESERVED, "holder": CredentialHolder.TRACKER, "report": None, "vm": VmState.TERMINATED}
    return booting({**gone, "boot": Boot.LATE, **cell})


def running(cell: dict[str, Any]) -> Situation:
    now = EPOCH + AGES[cell["boot"]]
    over_for = OVER_FOR[cell["over"]]
    run = RUNNING_RUN if over_for is None else RUNNING_RUN.with_facts(job_over_at=now - over_for)
    return situation(run, cell["job"], mailbox_status=None, **seen(cell))


def finishing(cell: dict[str, Any]) -> Situation:
    asked_at = EPOCH + AGES[cell["boot"]] - ASKED[cell["asked"]]
    return situation(
        booting_run(CredentialHolder.TRACKER).finishing("because", now=asked_at), cell["job"], **seen(cell)
    )


SITUATIONS = {
    NO_VM.title: no_vm,
    BOOTING.title: booting,
    AFTER_THE_VM.title: after_the_vm,
    RUNNING.title: running,
    FINISHING.title: finishing,
}


def cells(table: Table) -> Iterator[dict[str, Any]]:
    for values in product(*table.columns.values()):
        cell = dict(zip(table.columns, values, strict=True))
        if cell.get("holder") is CredentialHolder.UNKNOWN and cell["report"] is not None:
            continue  # a mailbox that was not read reports nothing
        yield cell


def deciding(table: Table, cell: dict[str, Any]) -> tuple[Row, Then]:
    """The first row that fits, and what it decides; a row may leave that to another table."""
    row = next((row for row in table.rows if row.fits(cell)), None)
    assert row is not None, f"no row for {cell}"
    return row, row.then if isinstance(row.then, Then) else deciding(row.then, cell)[1]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.title)
def test_every_combination_is_decided_as_its_row_says(table: Table) -> None:
    idle = list(table.rows)
    for cell in cells(table):
        row, then = deciding(table, cell)
        decided = decide(SITUATIONS[table.title](cell))
        assert Then(action=decided.action, outcome=decided.outcome, odd=decided.odd) == then, f"{row.reason}: {cell}"
        assert (decided.failure is not None) or then.action is not Action.REQUEUE
        if row in idle:
            idle.remove(row)
    assert [row.reason for row in idle] == []


def test_every_value_has_its_place() -> None:
    for every, places in (
        (JOBS, (RESERVED, SCHEDULED, AGENT, CANCELING, CANCELED, NEVER_RAN, RAN, FORGOTTEN, NOT_KNOWN)),
        (VMS, (UP, GOING, GONE, HIDDEN, MISSING)),
        (REPORTS, (NO_AGENT, NO_FAILURE)),
        (frozenset(CredentialHolder), (UNTAKEN, VM, TRACKER)),
    ):
        assert Counter(value for place in places for value in place.values) == Counter(every)
    assert MOVED_ON.values == JOBS - WAITS.values - FORGOTTEN.values - NOT_KNOWN.values
    assert AGENT.values == AGENTS


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.title)
def test_the_page_says_each_row_with_its_reason(table: Table) -> None:
    section = decisions.page().split(f"## {table.title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert [line.rsplit(" | ", 1)[1].removesuffix(" |") for line in lines] == [row.reason for row in table.rows]
    for line, row in zip(lines, table.rows, strict=True):
        assert {cases.name for cases in row.when.values()} <= set(line.split(" | ")) | {line.split(" | ")[0][2:]}


def test_an_ended_run_is_not_decided_again() -> None:
    with pytest.raises(BugError):
        decision(running_run().ended(Outcome.FINISHED, now=EPOCH), JobState.FINISHED)


# --- laws that are about more than one cell ---


def test_a_fresh_vm_that_is_not_shown_is_not_missing() -> None:
    over = running_run().with_facts(job_over_at=EPOCH)
    fresh, old = EPOCH + ABSENCE_GRACE, EPOCH + ABSENCE_GRACE + timedelta(seconds=1)
    assert decision(over, JobState.FINISHED, vm=None, now=fresh).action is Action.KEEP
    assert decision(over, JobState.FINISHED, vm=None, now=old).outcome is Outcome.FINISHED


def test_a_running_job_does_not_end_on_absence_before_the_vms_lifetime_is_over() -> None:
    last = EPOCH + POLICY.max_lifetime + ABSENCE_GRACE
    assert decision(running_run(), JobState.RUNNING, vm=None, now=last).action is Action.KEEP
    after = last + timedelta(seconds=1)
    assert decision(running_run(), JobState.RUNNING, vm=None, now=after).outcome is Outcome.LOST


def test_a_job_that_is_named_is_not_forgotten_whatever_was_counted() -> None:
    for run in (reserved_run(), booting_run(), running_run()):
        for state in JobState:
            if job_phase_of(state) is not JobPhase.UNKNOWN:
                assert decision(run, state, vm=None, forgotten=True) == decision(run, state, vm=None)


def test_time_outs_are_reached_to_the_second() -> None:
    run, almost = booting_run(), timedelta(seconds=1)
    extended = replace(run, reserved_until=EPOCH + timedelta(days=1))
    assert decision(extended, JobState.RESERVED, now=EPOCH + BOOT_TIMEOUT - almost).action is Action.KEEP
    assert decision(extended, JobState.RESERVED, now=EPOCH + BOOT_TIMEOUT).action is Action.REVOKE
    held = replace(extended, credential_holder=CredentialHolder.VM)
    assert decision(held, JobState.RESERVED, now=EPOCH + 2 * BOOT_TIMEOUT - almost).action is Action.KEEP
    assert decision(held, JobState.RESERVED, now=EPOCH + 2 * BOOT_TIMEOUT).action is Action.TERMINATE


def test_an_agent_that_exits_27_because_the_job_was_taken_elsewhere_costs_no_second_vm() -> None:
    """The job's state is the truth: with an agent it is not ours to try again, whatever our own agent said."""
    said = MailboxStatus(credential_holder=CredentialHolder.VM, stage=BootStage.AGENT_EXITED, detail="27")
    assert decision(booting_run(CredentialHolder.VM), JobState.RUNNING, mailbox_status=said).action is Action.RUN
    assert decision(booting_run(CredentialHolder.VM), JobState.RESERVED, mailbox_status=said).action is Action.REQUEUE


def test_a_job_that_writes_into_its_mailbox_changes_nothing() -> None:
    for stage in REPORTS:
        lie = MailboxStatus(credential_holder=CredentialHolder.VM, stage=stage, detail="rm -rf")
        assert decision(booting_run(CredentialHolder.VM), JobState.RUNNING, mailbox_status=lie).action is Action.RUN
        assert decision(running_run(), JobState.RUNNING, mailbox_status=lie).action is Action.KEEP


def test_a_job_reserved_again_after_its_agent_is_said_aloud_and_left_alone() -> None:
    decided = decision(running_run(), JobState.RESERVED)
    assert (decided.action, decided.odd) == (Action.KEEP, True)
    assert not decision(running_run(), JobState.RUNNING).odd


@pytest.mark.parametrize(
    ("vm", "mailbox_status", "kind"),
    [
        (a_vm(state=VmState.TERMINATED, reason="Server.SpotInstanceTermination"), None, FailureKind.SPOT),
        (a_vm(state=VmState.SHUTTING_DOWN, reason="Server.InsufficientInstanceCapacity"), None, FailureKind.CAPACITY),
        (a_vm(state=VmState.STOPPED, reason="Client.UserInitiatedShutdown"), None, FailureKind.EC2),
        (
            a_vm(),
            MailboxStatus(credential_holder=CredentialHolder.TRACKER, stage=BootStage.FAILED),
            FailureKind.BOOT_PROGRAM,
        ),
        (
            a_vm(),
            MailboxStatus(credential_holder=CredentialHolder.TRACKER, stage=BootStage.AGENT_EXITED),
            FailureKind.AGENT,
        ),
        (a_vm(), None, FailureKind.REVOKED),
    ],
)
def test_a_failure_has_a_kind(vm: Vm, mailbox_status: MailboxStatus | None, kind: FailureKind) -> None:
    decided = decision(booting_run(CredentialHolder.TRACKER), JobState.RESERVED, vm=vm, mailbox_status=mailbox_status)
    assert decided.failure is not None
    assert decided.failure.kind is kind


def test_what_a_look_teaches_is_told_once() -> None:
    run = booting_run(CredentialHolder.VM)
    assert set(situation(run, JobState.RESERVED).observed_moments) == {Moment.VM_RUNNING}
    started = MailboxStatus(credential_holder=CredentialHolder.VM, stage=BootStage.AGENT_STARTED)
    assert set(situation(run, JobState.RESERVED, mailbox_status=started).observed_moments) == {
        Moment.VM_RUNNING,
        Moment.AGENT_STARTED,
    }
    observed_moments = situation(run, JobState.RUNNING).observed_moments
    assert set(observed_moments) == {Moment.VM_RUNNING, Moment.AGENT_STARTED, Moment.JOB_RUNNING}
    assert situation(run.running(now=EPOCH, observed_moments=observed_moments), JobState.RUNNING).observed_moments == {}
    assert Moment.JOB_RUNNING not in situation(run, JobState.FINISHED).observed_moments
    excluding_failed_pools = booting_run(CredentialHolder.TRACKER)
    assert set(situation(excluding_failed_pools, JobState.RUNNING).observed_moments) == {Moment.VM_RUNNING}


def test_a_run_remembers_where_it_failed_and_counts_what_it_was_told() -> None:
    failure = Failure(kind=FailureKind.SPOT, words="EC2 shows it terminated")
    run = booting_run().with_facts(notices_sent=frozenset({"vm_requested", "relaunch_1"}))
    back = run.requeued(failure, now=EPOCH + timedelta(seconds=48))
    assert [(attempt.pool, attempt.seconds) for attempt in back.tried] == [("on-demand:m7i.large:eu-central-1a", 48)]
    assert (back.notices_sent, back.notices_sent_in_all, back.attempt) == (frozenset(), 2, 1)
    assert set(back.timeline) == {Moment.SCHEDULED, Moment.RECORDED}
