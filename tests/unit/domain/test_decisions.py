"""The decision table: what becomes of a run, row by row. The first row that fits decides; every combination is tried.

`docs/decisions.md` says the same, written from the function. Here it stands as it was meant, over every state that
Buildkite, EC2 and a VM can name.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from itertools import product
from typing import Any

import pytest

from agent_stack.domain.attempts import Failure, FailureKind
from agent_stack.domain.decisions import Action, Decision, decide
from agent_stack.domain.errors import BugError
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import ABSENCE_GRACE, FINISH_SETTLES_AFTER, Situation
from agent_stack.domain.states import AGENTS, BootStage, CredentialHolder, JobState, Moment, Outcome, VmState
from agent_stack.domain.vms import MailboxStatus, Vm
from tests.simulator.clock import EPOCH
from tests.unit.values import a_policy, a_run, a_vm

BOOT_TIMEOUT = timedelta(seconds=3_000)
"""Longer than EC2 may hide a fresh VM, so that a VM can be missing at every age of its boot."""

POLICY = a_policy()


class VmVisibility(Enum):
    """What EC2 shows of the VM: one of its states, or nothing."""

    PENDING = VmState.PENDING
    RUNNING = VmState.RUNNING
    SHUTTING_DOWN = VmState.SHUTTING_DOWN
    STOPPING = VmState.STOPPING
    STOPPED = VmState.STOPPED
    TERMINATED = VmState.TERMINATED
    UNRECOGNISED = VmState.UNRECOGNISED
    NOT_DESCRIBED = "EC2 did not answer in full"
    MISSING = "EC2 answered in full and did not show it"


class Boot(Enum):
    """How long ago the VM was bound."""

    IN_TIME = timedelta(seconds=700)
    LATE = BOOT_TIMEOUT
    TWICE_LATE = 2 * BOOT_TIMEOUT
    PAST_LIFETIME = 2 * POLICY.max_lifetime


class Hold(Enum):
    """The reservation."""

    OVER_HALF = 0.6
    UNDER_HALF = 0.4
    LOST = None


class Tries(Enum):
    """Attempts."""

    LEFT = 1
    LAST = 3


class Over(Enum):
    """When the job was first seen over, or cancelling, with its VM up."""

    JUST_SEEN = None
    RECENTLY = timedelta()
    LONG_AGO = POLICY.cancel_grace + POLICY.finish_grace


class Asked(Enum):
    """How long ago Buildkite was asked to finish the job."""

    JUST = FINISH_SETTLES_AFTER / 2
    BEFORE = FINISH_SETTLES_AFTER


JOBS = frozenset({None, *JobState})
WAITS = frozenset({JobState.RESERVED, JobState.SCHEDULED})
AGENT = frozenset({JobState.ASSIGNED, JobState.ACCEPTED, JobState.RUNNING, JobState.TIMING_OUT})
CANCELLED = frozenset({JobState.CANCELING, JobState.CANCELED})
NEVER_RAN = frozenset({JobState.EXPIRED, JobState.SKIPPED, JobState.BROKEN})
RAN = frozenset({JobState.FINISHED, JobState.TIMED_OUT})
OVER = frozenset({JobState.CANCELED}) | NEVER_RAN | RAN
MOVED_ON = AGENT | CANCELLED | OVER
NOT_KNOWN = JOBS - WAITS - MOVED_ON

UP = frozenset({VmVisibility.PENDING, VmVisibility.RUNNING})
GOING = frozenset({VmVisibility.SHUTTING_DOWN, VmVisibility.STOPPING})
GONE = frozenset({VmVisibility.STOPPED, VmVisibility.TERMINATED})
HIDDEN = frozenset({VmVisibility.NOT_DESCRIBED, VmVisibility.UNRECOGNISED})
MISSING = frozenset({VmVisibility.MISSING})
UNSEEN = HIDDEN | MISSING

STAGES = frozenset({None, *BootStage})
NO_AGENT = frozenset({BootStage.FAILED, BootStage.AGENT_EXITED})
LOST_CREDENTIAL = frozenset({BootStage.CREDENTIAL_LOST})

UNTAKEN = frozenset({CredentialHolder.MAILBOX, CredentialHolder.UNKNOWN})
"""Taking it is a conditional write that decides by itself: it need not be read before."""

KEEP = Action.KEEP
RECORD_JOB_OVER, RUN, EXTEND, REISSUE = Action.RECORD_JOB_OVER, Action.RUN, Action.EXTEND, Action.REISSUE
REVOKE, TERMINATE = Action.REVOKE, Action.TERMINATE
REQUEUE = Action.REQUEUE
FINISH = (Action.FINISH, Outcome.FAILED)
RELEASED = (Action.END, Outcome.RELEASED)
CANCEL = (Action.END, Outcome.CANCELLED)
FAILED = (Action.END, Outcome.FAILED)
FINISHED = (Action.END, Outcome.FINISHED)
LOST = (Action.END, Outcome.LOST)

Then = Action | tuple[Action, Outcome]


@dataclass(frozen=True)
class Row:
    """A row: what it says, when it fits (what is not named is any), and what is decided then."""

    says: str
    then: Then
    when: dict[str, frozenset[Any]]

    def fits(self, cell: dict[str, Any]) -> bool:
        return all(cell[name] in values for name, values in self.when.items())


def row(says: str, then: Then, **when: frozenset[Any] | Enum) -> Row:
    return Row(says, then, {name: v if isinstance(v, frozenset) else frozenset({v}) for name, v in when.items()})


# --- No VM: the dispatcher's ---

NO_VM = {"job": JOBS, "given_up": (False, True), "boot": (Boot.IN_TIME, Boot.PAST_LIFETIME)}
NO_VM_TABLE = (
    row("cancelled: nothing was started for it", CANCEL, job=CANCELLED),
    row("over", RELEASED, job=OVER),
    row("taken elsewhere", RELEASED, job=AGENT),
    row("the dispatcher gave it up: finish it with the reason", FINISH, job=WAITS, given_up=frozenset({True})),
    row("the dispatcher's: handed back, or waiting", KEEP, job=WAITS),
    row("nothing was heard of the job for longer than a VM lives", RELEASED, job=NOT_KNOWN, boot=Boot.PAST_LIFETIME),
    row("not known: look again", KEEP, job=NOT_KNOWN),
)

# --- A VM on its way up ---

BOOTING = {
    "job": JOBS,
    "baton_and_stage": (
        (CredentialHolder.UNKNOWN, None),  # what was not read says nothing
        *product((CredentialHolder.MAILBOX, CredentialHolder.VM, CredentialHolder.TRACKER), STAGES),
    ),
    "vm": tuple(VmVisibility),
    "boot": tuple(Boot),
    "hold": tuple(Hold),
    "tries": tuple(Tries),
}
AFTER_THE_VM = (
    row("no agent can come from it, and the job is not ours any more", RELEASED, hold=Hold.LOST),
    row("no agent can come from it: another VM", REQUEUE, tries=Tries.LEFT),
    row("no agent can come from it, and that was the last: finish with the reason", FINISH, tries=Tries.LAST),
)


def try_again(**when: frozenset[Any] | Enum) -> Iterator[Row]:
    """The three rows of `AFTER_THE_VM`, where that holds."""
    for last in AFTER_THE_VM:
        yield replace(last, when={**last.when, **row("", KEEP, **when).when})


COMING_UP: dict[str, Any] = {
    "job": WAITS,
    "vm": UP | UNSEEN,
    "boot": Boot.IN_TIME,
    "stage": STAGES - NO_AGENT,
}
BOOTING_TABLE = (
    row("not known", KEEP, job=NOT_KNOWN, vm=UP),
    row("not known for longer than a VM lives, and it is not up", RELEASED, job=NOT_KNOWN, boot=Boot.PAST_LIFETIME),
    row("not known: look again", KEEP, job=NOT_KNOWN),
    row(
        "the VM has the credential, so the agent may be its own",
        RUN,
        job=MOVED_ON,
        credential_holder=CredentialHolder.VM,
    ),
    row("nobody has the credential: settle that first", REVOKE, job=MOVED_ON, credential_holder=UNTAKEN),
    row(
        "cancelled before an agent had it: terminate now",
        CANCEL,
        job=CANCELLED,
        credential_holder=CredentialHolder.TRACKER,
    ),
    row("taken elsewhere, or over", RELEASED, job=MOVED_ON, credential_holder=CredentialHolder.TRACKER),
    *try_again(job=WAITS, credential_holder=CredentialHolder.TRACKER),
    row(
        "lost, and the VM may still acquire it",
        KEEP,
        hold=Hold.LOST,
        credential_holder=CredentialHolder.VM,
        **COMING_UP,
    ),
    row("lost: take the baton before anything else", REVOKE, hold=Hold.LOST, **COMING_UP),
    row("lapsed: reserve again", EXTEND, **{**COMING_UP, "job": JobState.SCHEDULED}),
    row("under half of the reservation is left", EXTEND, hold=Hold.UNDER_HALF, **COMING_UP),
    row(
        "it lost the credential",
        REISSUE,
        **{**COMING_UP, "stage": LOST_CREDENTIAL, "credential_holder": CredentialHolder.VM},
    ),
    row("coming up", KEEP, **COMING_UP),
    row("late, gone, or by its own word without an agent", REVOKE, job=WAITS, credential_holder=UNTAKEN),
    *try_again(job=WAITS, stage=NO_AGENT),
    *try_again(job=WAITS, vm=GONE),
    *try_again(job=WAITS, vm=UNSEEN, boot=Boot.PAST_LIFETIME),
    row(
        "its second time-out: terminate, and wait for the end",
        TERMINATE,
        job=WAITS,
        vm=UP | HIDDEN,
        boot=frozenset({Boot.TWICE_LATE, Boot.PAST_LIFETIME}),
    ),
    row("it has the credential: wait for its word or its end", KEEP, job=WAITS, credential_holder=CredentialHolder.VM),
)

# --- An agent of ours had the job ---

RUNNING = {"job": JOBS, "vm": tuple(VmVisibility), "boot": tuple(Boot), "over": tuple(Over)}
RUNNING_TABLE = (
    row("not known", KEEP, job=NOT_KNOWN, vm=UP),
    row("not known for longer than a VM lives, and it is not up", RELEASED, job=NOT_KNOWN, boot=Boot.PAST_LIFETIME),
    row("not known: look again", KEEP, job=NOT_KNOWN),
    row("cancelled", CANCEL, job=JobState.CANCELED, vm=GOING | GONE),
    row("never ran", RELEASED, job=NEVER_RAN, vm=GOING | GONE),
    row("finished", FINISHED, job=RAN, vm=GOING | GONE),
    row("cancelled, and its VM long missing", CANCEL, job=JobState.CANCELED, vm=MISSING, over=Over.LONG_AGO),
    row("never ran, and its VM long missing", RELEASED, job=NEVER_RAN, vm=MISSING, over=Over.LONG_AGO),
    row("finished, and its VM long missing", FINISHED, job=RAN, vm=MISSING, over=Over.LONG_AGO),
    row("over: its VM has a while to end itself", RECORD_JOB_OVER, job=OVER, over=Over.JUST_SEEN),
    row("still up after its job", TERMINATE, job=OVER, vm=UP, over=Over.LONG_AGO),
    row("over: about to end itself", KEEP, job=OVER),
    row("its VM went away while it was cancelled", CANCEL, job=JobState.CANCELING, vm=GONE),
    row("or is past its lifetime", CANCEL, job=JobState.CANCELING, vm=UNSEEN, boot=Boot.PAST_LIFETIME),
    row("cancelling: the agent's to end", RECORD_JOB_OVER, job=JobState.CANCELING, over=Over.JUST_SEEN),
    row("the agent does not end it", TERMINATE, job=JobState.CANCELING, vm=UP, over=Over.LONG_AGO),
    row("the agent ends it", KEEP, job=JobState.CANCELING),
    row("its VM went away: Buildkite notices the lost agent; never finish", LOST, vm=GONE),
    row("absent past its lifetime", LOST, vm=UNSEEN, boot=Boot.PAST_LIFETIME),
    row("the agent's; reserved again is odd, and left alone", KEEP, job=AGENT | WAITS),
)

# --- Finishing ---

FINISHING = {"job": JOBS, "vm": tuple(VmVisibility), "boot": (Boot.IN_TIME, Boot.PAST_LIFETIME), "asked": tuple(Asked)}
FINISHING_TABLE = (
    row("it was finished", FAILED, job=OVER),
    row("an agent elsewhere has it", RELEASED, job=AGENT | {JobState.CANCELING}),
    row("the request never arrived", FINISH, job=WAITS, asked=Asked.BEFORE),
    row("it may be under way", KEEP, job=WAITS),
    row("nobody will ever know", RELEASED, job=NOT_KNOWN, vm=GOING | GONE | UNSEEN, boot=Boot.PAST_LIFETIME),
    row("not known: look again", KEEP, job=NOT_KNOWN),
)


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
    (credential_holder, tries): booting_run(credential_holder, tries.value)
    for credential_holder, tries in product(CredentialHolder, Tries)
}
MAILS = {
    (credential_holder, stage): None
    if credential_holder is CredentialHolder.UNKNOWN
    else MailboxStatus(credential_holder=credential_holder, stage=stage)
    for credential_holder, stage in product(CredentialHolder, STAGES)
}
VMS = {visibility: a_vm(state=visibility.value) for visibility in VmVisibility if isinstance(visibility.value, VmState)}


def situation(run: Run, job_state: JobState | None, **changes: object) -> Situation:
    values: dict[str, Any] = {
        "run": run,
        "vm": a_vm(state=VmState.RUNNING) if run.binding else None,
        "described": True,
        "job_state": job_state,
        "mailbox_status": MailboxStatus(credential_holder=run.credential_holder) if run.binding else None,
        "boot_timeout": BOOT_TIMEOUT,
        "policy": POLICY,
        "now": EPOCH + Boot.IN_TIME.value,
        **changes,
    }
    return Situation(**values)


def decision(run: Run, job_state: JobState | None, **changes: object) -> Decision:
    return decide(situation(run, job_state, **changes))


def no_vm(cell: dict[str, Any]) -> Situation:
    run = GIVEN_UP_RUN if cell["given_up"] else RESERVED_RUN
    return situation(run, cell["job"], described=True, now=EPOCH + cell["boot"].value)


def seen(cell: dict[str, Any]) -> dict[str, Any]:
    vm: Vm | None = VMS.get(cell["vm"])
    return {"vm": vm, "described": cell["vm"] is not VmVisibility.NOT_DESCRIBED, "now": EPOCH + cell["boot"].value}


def booting(cell: dict[str, Any]) -> Situation:
    now = EPOCH + cell["boot"].value
    share = cell["hold"].value
    run = replace(
        BOOTING_RUNS[
            cell["credential_holder"]
            if cell["credential_holder"] is not CredentialHolder.UNKNOWN
            else CredentialHolder.MAILBOX,
            cell["tries"],
        ],
        reserved_until=now + POLICY.reservation * (0.9 if share is None else share),
        reservation_lost=share is None,
    )
    return situation(run, cell["job"], mailbox_status=MAILS[cell["credential_holder"], cell["stage"]], **seen(cell))


def running(cell: dict[str, Any]) -> Situation:
    now = EPOCH + cell["boot"].value
    with_facts = cell["over"].value
    run = RUNNING_RUN if with_facts is None else RUNNING_RUN.with_facts(job_over_at=now - with_facts)
    return situation(run, cell["job"], mailbox_status=None, **seen(cell))


def finishing(cell: dict[str, Any]) -> Situation:
    asked_at = EPOCH + cell["boot"].value - cell["asked"].value
    return situation(
        booting_run(CredentialHolder.TRACKER).finishing("because", now=asked_at), cell["job"], **seen(cell)
    )


TABLES = {
    "no VM": (NO_VM, NO_VM_TABLE, no_vm),
    "booting": (BOOTING, BOOTING_TABLE, booting),
    "running": (RUNNING, RUNNING_TABLE, running),
    "finishing": (FINISHING, FINISHING_TABLE, finishing),
}


def cells(space: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for values in product(*space.values()):
        cell = dict(zip(space, values, strict=True))
        if "baton_and_stage" in cell:
            cell["credential_holder"], cell["stage"] = cell["baton_and_stage"]
        yield cell


def what(decided: Decision) -> Then:
    return decided.action if decided.outcome is None else (decided.action, decided.outcome)


@pytest.mark.parametrize("name", TABLES)
def test_every_combination_is_decided_as_its_row_says(name: str) -> None:
    space, table, make = TABLES[name]
    left = list(range(len(table)))
    for cell in cells(space):
        number = next((n for n, candidate in enumerate(table) if candidate.fits(cell)), None)
        assert number is not None, f"no row for {cell}"
        decided = decide(make(cell))
        assert what(decided) == table[number].then, f"{table[number].says}: {cell}"
        if decided.action is Action.REQUEUE:
            assert decided.failure is not None
        if number in left:
            left.remove(number)
    assert [table[number].says for number in left] == []


def test_every_state_has_its_place() -> None:
    assert WAITS | MOVED_ON | NOT_KNOWN == JOBS
    assert len(WAITS) + len(AGENT) + len(CANCELLED | OVER) + len(NOT_KNOWN) == len(JOBS)
    assert set(VmVisibility) == UP | GOING | GONE | UNSEEN
    assert AGENT == AGENTS


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
    for stage in STAGES:
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
