"""The decision tables, written by hand: for each table its rows, and the first row that fits decides.

Plain data. `tests/unit/domain/test_decisions.py` proves that `decide` says the same for every combination of the
columns' values, and that each row decides something; `infra/decisions.py` writes docs/development/decisions.md from
the same rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, Union

from agent_stack.domain.decisions import Action
from agent_stack.domain.states import CredentialHolder, Outcome
from infra.decision_words import (
    AGENT,
    CANCELED,
    CANCELING,
    FORGOTTEN,
    GIVEN_UP,
    GOING,
    GONE,
    HIDDEN,
    JOBS,
    LOST_CREDENTIAL,
    MISSING,
    MOVED_ON,
    NEVER_RAN,
    NO_AGENT,
    NO_FAILURE,
    NOT_KNOWN,
    NOT_NAMED,
    OVER,
    RAN,
    REPORTS,
    SCHEDULED,
    TRACKER,
    UNSEEN,
    UNTAKEN,
    UP,
    VM,
    VMS,
    WAITS,
    Asked,
    Boot,
    Cases,
    Hold,
    Over,
    Tries,
    one,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Then:
    """What is decided.

    Attributes:
        odd: an operator may want to know; the log says so.
    """

    action: Action
    outcome: Outcome | None = None
    odd: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row: why, what is decided, and when it fits. A column that `when` does not name may have any value."""

    reason: str
    then: Union[Then, "Table"]
    when: Mapping[str, Cases]

    def fits(self, cell: Mapping[str, Any]) -> bool:
        """Whether the row is about this combination."""
        return all(cell[column] in cases.values for column, cases in self.when.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table: which runs it is about, and the columns with all their values."""

    title: str
    about: str
    columns: Mapping[str, frozenset[Any]]
    rows: tuple[Row, ...]


Value: TypeAlias = Cases | Boot | Hold | Tries | Over | Asked


def _row(reason: str, then: Then | Table, **when: Value) -> Row:
    return Row(reason, then, {column: v if isinstance(v, Cases) else one(v) for column, v in when.items()})


KEEP = Then(action=Action.KEEP)
RECORD_JOB_OVER, RUN = Then(action=Action.RECORD_JOB_OVER), Then(action=Action.RUN)
EXTEND, REISSUE = Then(action=Action.EXTEND), Then(action=Action.REISSUE)
REVOKE, TERMINATE = Then(action=Action.REVOKE), Then(action=Action.TERMINATE)
REQUEUE = Then(action=Action.REQUEUE)
FINISH = Then(action=Action.FINISH, outcome=Outcome.FAILED)
RELEASED = Then(action=Action.END, outcome=Outcome.RELEASED)
CANCELLED = Then(action=Action.END, outcome=Outcome.CANCELLED)
FAILED = Then(action=Action.END, outcome=Outcome.FAILED)
FINISHED = Then(action=Action.END, outcome=Outcome.FINISHED)
LOST = Then(action=Action.END, outcome=Outcome.LOST)

# --- the tables ---

TWO_AGES = frozenset({Boot.IN_TIME, Boot.PAST_LIFETIME})

NO_VM = Table(
    title="No VM",
    about="The run is `RESERVED`. The dispatcher finds it a VM; [notifications](../reference/notifications.md) say "
    "what it waits for.",
    columns={"job": JOBS, "given_up": frozenset({False, True}), "boot": TWO_AGES},
    rows=(
        _row("cancelled: nothing was started for it", CANCELLED, job=CANCELING | CANCELED),
        _row("the job is over", RELEASED, job=NEVER_RAN | RAN),
        _row("an agent elsewhere has the job", RELEASED, job=AGENT),
        _row("the launch deadline is over: fail the job with its reason", FINISH, job=WAITS, given_up=GIVEN_UP),
        _row("the dispatcher looks for a VM", KEEP, job=WAITS),
        _row("Buildkite does not name the job any more", RELEASED, job=FORGOTTEN),
        _row("no word of the job for longer than a VM lives", RELEASED, job=NOT_KNOWN, boot=Boot.PAST_LIFETIME),
        _row("the job's state is not known", KEEP, job=NOT_KNOWN),
    ),
)

AFTER_THE_VM = Table(
    title="Trying again",
    about="No agent can get the job from this VM any more. The next VM comes from another pool where there is one.",
    columns={"hold": frozenset(Hold), "tries": frozenset(Tries)},
    rows=(
        _row("the job is not this stack's any more", RELEASED, hold=Hold.LOST),
        _row("another VM may be tried", REQUEUE, tries=Tries.LEFT),
        _row("that was the last attempt: fail the job with the reason", FINISH, tries=Tries.LAST),
    ),
)

COMING_UP: Mapping[str, Value] = {"vm": UP | UNSEEN, "boot": Boot.IN_TIME, "report": NO_FAILURE}

BOOTING = Table(
    title="A VM boots",
    about="The run is `BOOTING`: it has a VM, and no agent was seen. A mailbox that was not read reports nothing.",
    columns={
        "job": JOBS,
        "holder": frozenset(CredentialHolder),
        "report": REPORTS,
        "vm": VMS,
        "boot": frozenset(Boot),
        **AFTER_THE_VM.columns,
    },
    rows=(
        _row("the job's state is not known, and the VM is up", KEEP, job=NOT_NAMED, vm=UP),
        _row("nothing runs for a job that Buildkite does not name", RELEASED, job=FORGOTTEN, vm=GONE | MISSING),
        _row("no word of the job for longer than a VM lives", RELEASED, job=NOT_NAMED, boot=Boot.PAST_LIFETIME),
        _row("the job's state is not known", KEEP, job=NOT_NAMED),
        _row("the VM has the credential, so the agent may be its own", RUN, job=MOVED_ON, holder=VM),
        _row("the VM could still take the credential: revoke it first", REVOKE, job=MOVED_ON, holder=UNTAKEN),
        _row("cancelled before an agent had it: terminate now", CANCELLED, job=CANCELING | CANCELED, holder=TRACKER),
        _row("an agent elsewhere has the job, or it is over", RELEASED, job=MOVED_ON, holder=TRACKER),
        _row("the credential was revoked", AFTER_THE_VM, job=WAITS, holder=TRACKER),
        _row("the VM may still acquire the job", KEEP, job=WAITS, hold=Hold.LOST, holder=VM, **COMING_UP),
        _row("the reservation is lost: revoke before anything else", REVOKE, job=WAITS, hold=Hold.LOST, **COMING_UP),
        _row("the reservation lapsed", EXTEND, job=SCHEDULED, **COMING_UP),
        _row("under half of the reservation is left", EXTEND, job=WAITS, hold=Hold.UNDER_HALF, **COMING_UP),
        _row("the VM lost the credential", REISSUE, job=WAITS, holder=VM, **{**COMING_UP, "report": LOST_CREDENTIAL}),
        _row("the VM is coming up", KEEP, job=WAITS, **COMING_UP),
        _row("the VM is late, gone, or reports that no agent will come", REVOKE, job=WAITS, holder=UNTAKEN),
        _row("the VM reports that no agent will come", AFTER_THE_VM, job=WAITS, report=NO_AGENT),
        _row("nothing runs there any more", AFTER_THE_VM, job=WAITS, vm=GONE),
        _row("the VM's own timer has ended it", AFTER_THE_VM, job=WAITS, vm=UNSEEN, boot=Boot.PAST_LIFETIME),
        _row(
            "twice late: terminate, and wait for the end",
            TERMINATE,
            job=WAITS,
            vm=UP | HIDDEN,
            boot=one(Boot.TWICE_LATE) | one(Boot.PAST_LIFETIME),
        ),
        _row("the VM has the credential: wait for its report or its end", KEEP, job=WAITS, holder=VM),
    ),
)

RUNNING = Table(
    title="An agent had the job",
    about="The run is `RUNNING`. A silent mailbox means nothing here. The grace of a job that is over is "
    "`FinishGraceSeconds`, of one that is canceling `CancelGraceSeconds`.",
    columns={"job": JOBS, "vm": VMS, "boot": frozenset(Boot), "over": frozenset(Over)},
    rows=(
        _row("the job's state is not known, and the VM is up", KEEP, job=NOT_NAMED, vm=UP),
        _row("nothing runs for a job that Buildkite does not name", RELEASED, job=FORGOTTEN, vm=GONE | MISSING),
        _row("no word of the job for longer than a VM lives", RELEASED, job=NOT_NAMED, boot=Boot.PAST_LIFETIME),
        _row("the job's state is not known", KEEP, job=NOT_NAMED),
        _row("cancelled", CANCELLED, job=CANCELED, vm=GOING | GONE),
        _row("it never ran", RELEASED, job=NEVER_RAN, vm=GOING | GONE),
        _row("it ran", FINISHED, job=RAN, vm=GOING | GONE),
        _row("cancelled, and its VM long missing", CANCELLED, job=CANCELED, vm=MISSING, over=Over.PAST_GRACE),
        _row("it never ran, and its VM is long missing", RELEASED, job=NEVER_RAN, vm=MISSING, over=Over.PAST_GRACE),
        _row("it ran, and its VM is long missing", FINISHED, job=RAN, vm=MISSING, over=Over.PAST_GRACE),
        _row("over: its VM has its grace to end itself", RECORD_JOB_OVER, job=OVER, over=Over.JUST_SEEN),
        _row("still up after its job", TERMINATE, job=OVER, vm=UP, over=Over.PAST_GRACE),
        _row("over: its VM is about to end itself", KEEP, job=OVER),
        _row("its VM went away while the agent cancelled it", CANCELLED, job=CANCELING, vm=GONE),
        _row("its VM's own timer has ended it", CANCELLED, job=CANCELING, vm=UNSEEN, boot=Boot.PAST_LIFETIME),
        _row("the agent has its grace to cancel it", RECORD_JOB_OVER, job=CANCELING, over=Over.JUST_SEEN),
        _row("the agent does not end it", TERMINATE, job=CANCELING, vm=UP, over=Over.PAST_GRACE),
        _row("the agent ends it", KEEP, job=CANCELING),
        _row("its VM went away: Buildkite notices the lost agent; never finish the job", LOST, vm=GONE),
        _row("its VM's own timer has ended it: the same", LOST, vm=UNSEEN, boot=Boot.PAST_LIFETIME),
        _row("the agent has the job", KEEP, job=AGENT),
        _row("it waits again after an agent had it", Then(action=Action.KEEP, odd=True), job=WAITS),
    ),
)

FINISHING = Table(
    title="Finishing, and Buildkite's answer was lost",
    about="The tracker recorded the intention before the request, and never repeats it blindly: the job's state tells.",
    columns={"job": JOBS, "vm": VMS, "boot": TWO_AGES, "asked": frozenset(Asked)},
    rows=(
        _row("it was finished", FAILED, job=OVER),
        _row("an agent elsewhere has it", RELEASED, job=AGENT | CANCELING),
        _row("the request never arrived", FINISH, job=WAITS, asked=Asked.BEFORE),
        _row("the request may be under way", KEEP, job=WAITS),
        _row("nothing runs for a job that Buildkite does not name", RELEASED, job=FORGOTTEN, vm=GONE | MISSING),
        _row(
            "no word of the job for longer than a VM lives",
            RELEASED,
            job=NOT_NAMED,
            vm=GOING | GONE | UNSEEN,
            boot=Boot.PAST_LIFETIME,
        ),
        _row("the job's state is not known", KEEP, job=NOT_NAMED),
    ),
)

TABLES = (NO_VM, BOOTING, AFTER_THE_VM, RUNNING, FINISHING)
