"""docs/decisions.md, from the function itself: every combination is tried, and what decides alike becomes one row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from itertools import product
from pathlib import Path
from typing import Any

from agent_stack.domain.attempts import SPOT_LOSSES_BEFORE_ON_DEMAND, Earlier
from agent_stack.domain.decisions import Action, decide
from agent_stack.domain.identifiers import ClassName, InstanceArn, InstanceId, JobId, QueueKey
from agent_stack.domain.jobs import Job
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import FINISH_SETTLES_AFTER, Age, Sight, Situation, Standing, Word, standing_of
from agent_stack.domain.states import Baton, BootStage, JobState, Outcome, RunState, VmState
from agent_stack.domain.vms import Mail, Vm
from infra.examples import POLICY

PAGE = Path(__file__).resolve().parents[1] / "docs" / "decisions.md"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
BOOT_TIMEOUT = timedelta(seconds=3_000)
"""Longer than EC2 may hide a fresh VM, so that a VM can be missing at every age of its boot."""

Cell = tuple[Enum, ...]


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


LABELS: Mapping[type[Enum], Mapping[Enum, str]] = {
    Standing: {
        Standing.RESERVED: "reserved",
        Standing.LAPSED: "scheduled",
        Standing.AGENT: "with an agent",
        Standing.CANCELING: "canceling",
        Standing.CANCELED: "canceled",
        Standing.NEVER_RAN: "over unrun",
        Standing.OVER: "over",
        Standing.UNKNOWN: "not known",
    },
    Sight: {
        Sight.UP: "up",
        Sight.GOING: "going",
        Sight.GONE: "gone",
        Sight.HIDDEN: "not shown yet",
        Sight.MISSING: "missing",
    },
    Baton: {
        Baton.IN_BOX: "in the mailbox",
        Baton.VM: "the VM",
        Baton.TRACKER: "the tracker",
        Baton.UNKNOWN: "not read",
    },
    Word: {
        Word.NOTHING: "nothing of note",
        Word.LOST_CREDENTIAL: "credential lost",
        Word.NO_AGENT: "no agent will come",
    },
    Age: {
        Age.EARLY: "in time",
        Age.LATE: "late",
        Age.OVERDUE: "twice late",
        Age.BEYOND: "past its lifetime",
    },
}
"""By type first: members of two enumerations may be equal."""

ACTIONS = {
    Action.KEEP: "keep, look again",
    Action.RUN: "**running**: the agent's from here",
    Action.NOTE_OVER: "note the time",
    Action.EXTEND: "reserve again",
    Action.REISSUE: "issue another credential",
    Action.TAKE_BATON: "**take the baton**, decide again",
    Action.TERMINATE: "**terminate** the VM, look again",
    Action.HAND_BACK: "**hand back**",
    Action.FINISH: "**finish** the job",
    Action.END: "**end**",
}

ENDS_OF_JOBS = {
    Standing.CANCELED: Outcome.CANCELLED,
    Standing.NEVER_RAN: Outcome.RELEASED,
    Standing.OVER: Outcome.FINISHED,
}
"""How a run ends whose agent's job is over, where the VM gives no other reason."""

TRY_AGAIN = "**try again** (below)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One table: the runs that it is about, what varies, and how such a situation is made."""

    title: str
    about: str
    columns: Mapping[str, Sequence[Enum]]
    situation: Callable[..., Situation | None]


def page() -> str:
    """The page's text."""
    lines = [
        "# Decisions",
        "",
        "Written by scripts/generate from `domain/decisions.py`, by trying every combination. What decides alike is",
        "one row; an empty cell is any. `tests/unit/test_decisions.py` holds the same tables, written by hand.",
        "",
        "A baton is the credential in the VM's mailbox: whoever takes it owns the job. To take it is one conditional",
        "write, after which the job's state is read once more and the function is asked again.",
        "",
        "## Words",
        "",
        "| Column | Value | Means |",
        "|---|---|---|",
        *_words(),
        "",
    ]
    for section in SECTIONS:
        lines += [f"## {section.title}", "", section.about, "", *_table(section), ""]
    return "\n".join(lines)


def _words() -> list[str]:
    states: dict[Enum, list[str]] = {}
    for state in JobState:
        states.setdefault(standing_of(state), []).append(f"`{state}`" if state.islower() else "any other")
    rows = [f"| Job | {_label(standing)} | {', '.join(states[standing])} |" for standing in Standing]
    rows[-1] = rows[-1].removesuffix(" |") + "; or Buildkite did not tell |"
    rows += [
        f"| VM | {_label(sight)} | {meaning} |"
        for sight, meaning in (
            (Sight.UP, "`pending`, `running`"),
            (Sight.GOING, "`shutting-down`, `stopping`: its agent may still speak"),
            (Sight.GONE, "`terminated`, `stopped`"),
            (Sight.HIDDEN, "EC2 did not answer in full, or the VM is under 10 minutes old"),
            (Sight.MISSING, "EC2 answered in full and did not show it, at least 10 minutes after its launch"),
        )
    ]
    rows += [
        f"| VM says | {_label(word)} | {meaning} |"
        for word, meaning in (
            (Word.NOTHING, "silence, or any stage of a boot"),
            (Word.LOST_CREDENTIAL, "`credential_lost`"),
            (Word.NO_AGENT, "`failed`, `agent_exited`"),
        )
    ]
    rows += [
        f"| Boot | {_label(age)} | {meaning} |"
        for age, meaning in (
            (Age.EARLY, "before the class's `boot_timeout_seconds`, from the binding"),
            (Age.LATE, "past it"),
            (Age.OVERDUE, "past twice that"),
            (Age.BEYOND, "past `MaxLifetimeSeconds`: the VM's own timer has ended it, whatever EC2 shows"),
        )
    ]
    return rows


def _table(section: Section) -> list[str]:
    values = list(section.columns.values())
    decided: dict[Cell, str] = {}
    for cell in product(*values):
        situation = section.situation(*cell)
        if situation is not None:
            decided[cell] = _said(situation)
    rows = _rows(values, decided, ())
    telling = [n for n, every in enumerate(values) if any(len(row[n]) < len(every) for row, _ in rows)]
    head = [list(section.columns)[n] for n in telling]
    lines = ["| " + " | ".join([*head, "Decision"]) + " |", "|---" * (len(head) + 1) + "|"]
    for row, said in rows:
        cells = [_cell(row[n], values[n]) for n in telling]
        lines.append("| " + " | ".join([*cells, said]) + " |")
    return lines


def _rows(
    values: Sequence[Sequence[Enum]], decided: Mapping[Cell, str], prefix: Cell
) -> list[tuple[list[list[Enum]], str]]:
    """Rows that cover every cell that begins so, once: values of a column that decide alike go together."""
    depth = len(prefix)
    if depth and {cell[depth:]: said for cell, said in decided.items()} == TRIED_AGAIN:
        return [([list(column) for column in values[depth:]], TRY_AGAIN)]
    if depth == len(values):
        return [([], decided[prefix])] if prefix in decided else []
    groups: list[tuple[list[Enum], dict[Cell, str]]] = []
    for value in values[depth]:
        below = {
            rest: decided[*prefix, value, *rest]
            for rest in product(*values[depth + 1 :])
            if (*prefix, value, *rest) in decided
        }
        if not below:
            continue
        for members, known in groups:
            if all(known.get(rest, said) == said for rest, said in below.items()):
                members.append(value)
                known.update(below)
                break
        else:
            groups.append(([value], dict(below)))
    rows = []
    for members, known in groups:
        merged = {(*prefix, members[0], *rest): said for rest, said in known.items()}
        rows += [([members, *row], said) for row, said in _rows(values, merged, (*prefix, members[0]))]
    return rows


def _cell(chosen: Sequence[Enum], every: Sequence[Enum]) -> str:
    left_out = [value for value in every if value not in chosen]
    if len(left_out) == 1 and len(chosen) > len(left_out) + 1:
        return f"any but {_label(left_out[0])}"
    return " or ".join(map(_label, chosen)) if left_out else ""


def _label(value: Enum) -> str:
    return LABELS.get(type(value), {}).get(value, str(value.value))


def _said(s: Situation) -> str:
    decision = decide(s)
    if decision.action is not Action.END:
        return ACTIONS[decision.action] + (", say so in the log" if decision.odd else "")
    as_it_did = s.run.state is RunState.RUNNING and ENDS_OF_JOBS.get(s.standing) is decision.outcome
    return f"{ACTIONS[Action.END]} {'as the job did' if as_it_did else f'as {decision.outcome}'}"


# --- situations ---


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


def _reserved(standing: Standing, given_up: GivenUp, age: Age) -> Situation:
    run = _run().giving_up("because") if given_up is GivenUp.YES else _run()
    return _situation(run, standing, Sight.HIDDEN, now=NOW + _AFTER[age])


def _booting(
    baton: Baton,
    age: Age,
    word: Word,
    sight: Sight,
    standing: Standing,
    hold: Hold = Hold.AMPLE,
    tries: Tries = Tries.LEFT,
) -> Situation | None:
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


def _moved_on(standing: Standing, baton: Baton, age: Age, word: Word, sight: Sight) -> Situation | None:
    return _booting(baton, age, word, sight, standing)


def _running(standing: Standing, sight: Sight, age: Age, noted: Noted) -> Situation:
    now = NOW + _AFTER[age]
    run = _run().bound(VM, now=NOW).running(now=NOW, learnt={})
    long_ago = POLICY.cancel_grace + POLICY.finish_grace
    if noted is not Noted.NO:
        run = run.noted(job_over_at=now - (long_ago if noted is Noted.LONG else timedelta()))
    return _situation(run, standing, sight, now=now)


def _finishing(standing: Standing, sight: Sight, age: Age, asked: Asked) -> Situation:
    now = NOW + _AFTER[age]
    at = now - (FINISH_SETTLES_AFTER if asked is Asked.BEFORE else timedelta())
    run = _run().bound(VM, now=NOW).noted(baton=Baton.TRACKER).finishing("because", now=at)
    return _situation(run, standing, sight, now=now)


# --- tables ---

WAITING = (Standing.RESERVED, Standing.LAPSED)
MOVED_ON = tuple(standing for standing in Standing if standing not in WAITING)
BEYOND_OR_NOT = (Age.EARLY, Age.BEYOND)
AGAIN = {"Reservation": tuple(Hold), "Attempts": tuple(Tries)}
BOOT = {"Baton": tuple(Baton), "Boot": tuple(Age), "VM says": tuple(Word), "VM": tuple(Sight)}


def _failed(hold: Hold, tries: Tries) -> Situation | None:
    return _booting(Baton.TRACKER, Age.LATE, Word.NO_AGENT, Sight.GONE, Standing.RESERVED, hold, tries)


TRIED_AGAIN: Mapping[Cell, str] = {
    (hold, tries): _said(situation)
    for hold, tries in product(Hold, Tries)
    if (situation := _failed(hold, tries)) is not None
}
SECTIONS = (
    Section(
        title="No VM",
        about="The run is `RESERVED`. Finding it a VM is the dispatcher's work; what it waits for is told "
        "([notifications](notifications.md)).",
        columns={"Job": tuple(Standing), "Dispatcher": tuple(GivenUp), "Age": BEYOND_OR_NOT},
        situation=_reserved,
    ),
    Section(
        title="A VM on its way up, and the job waits",
        about="The run is `BOOTING`, and no agent has the job.",
        columns={**BOOT, "Job": WAITING, **AGAIN},
        situation=_booting,
    ),
    Section(
        title="Trying again",
        about="No agent of ours can get the job from that VM any more. The next VM comes from another pool where there "
        f"is one, and on-demand after {SPOT_LOSSES_BEFORE_ON_DEMAND} losses to spot where the class may fall back.",
        columns=AGAIN,
        situation=_failed,
    ),
    Section(
        title="A VM on its way up, and the job has moved on",
        about="The run is `BOOTING`.",
        columns={"Job": MOVED_ON, **BOOT},
        situation=_moved_on,
    ),
    Section(
        title="An agent had the job",
        about="The run is `RUNNING`. Silence of the VM means nothing. The grace of a job that is over is "
        "`FinishGraceSeconds`, of one that is cancelling `CancelGraceSeconds`. As the job did: "
        + ", ".join(f"{_label(standing)} is `{outcome}`" for standing, outcome in ENDS_OF_JOBS.items())
        + ".",
        columns={"Job": tuple(Standing), "VM": tuple(Sight), "Age": BEYOND_OR_NOT, "Over": tuple(Noted)},
        situation=_running,
    ),
    Section(
        title="Finishing, and Buildkite's answer was lost",
        about="The intention was recorded before the request, which is never repeated blindly: the job's state tells.",
        columns={
            "Job": tuple(Standing),
            "VM": tuple(Sight),
            "Age": BEYOND_OR_NOT,
            "Asked": tuple(Asked),
        },
        situation=_finishing,
    ),
)
