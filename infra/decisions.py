"""docs/decisions.md, from the function itself: every combination is tried, and what decides alike becomes one row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import product
from pathlib import Path

from agent_stack.domain.attempts import SPOT_LOSSES_BEFORE_ON_DEMAND
from agent_stack.domain.decisions import Action, decide
from agent_stack.domain.situations import Age, Sight, Situation, Standing, Word, standing_of
from agent_stack.domain.states import Baton, JobState, Outcome, RunState
from infra.decision_rows import Cell, rows
from infra.decision_situations import (
    Asked,
    GivenUp,
    Hold,
    Noted,
    Tries,
    booting,
    finishing,
    moved_on,
    reserved,
    running,
)

PAGE = Path(__file__).resolve().parents[1] / "docs" / "decisions.md"
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


def decided(section: Section) -> Mapping[Cell, str]:
    """What is said in each cell of a table that can be."""
    situations = {cell: section.situation(*cell) for cell in product(*section.columns.values())}
    return {cell: _said(situation) for cell, situation in situations.items() if situation is not None}


def _table(section: Section) -> list[str]:
    values = list(section.columns.values())
    found = rows(values, decided(section), TRIED_AGAIN, TRY_AGAIN)
    telling = [n for n, every in enumerate(values) if any(len(row[n]) < len(every) for row, _ in found)]
    head = [list(section.columns)[n] for n in telling]
    lines = ["| " + " | ".join([*head, "Decision"]) + " |", "|---" * (len(head) + 1) + "|"]
    for row, said in found:
        cells = [_cell(row[n], values[n]) for n in telling]
        lines.append("| " + " | ".join([*cells, said]) + " |")
    return lines


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


# --- tables ---

WAITING = (Standing.RESERVED, Standing.LAPSED)
MOVED_ON = tuple(standing for standing in Standing if standing not in WAITING)
BEYOND_OR_NOT = (Age.EARLY, Age.BEYOND)
AGAIN = {"Reservation": tuple(Hold), "Attempts": tuple(Tries)}
BOOT = {"Baton": tuple(Baton), "Boot": tuple(Age), "VM says": tuple(Word), "VM": tuple(Sight)}


def _failed(hold: Hold, tries: Tries) -> Situation | None:
    return booting(Baton.TRACKER, Age.LATE, Word.NO_AGENT, Sight.GONE, Standing.RESERVED, hold, tries)


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
        situation=reserved,
    ),
    Section(
        title="A VM on its way up, and the job waits",
        about="The run is `BOOTING`, and no agent has the job.",
        columns={**BOOT, "Job": WAITING, **AGAIN},
        situation=booting,
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
        situation=moved_on,
    ),
    Section(
        title="An agent had the job",
        about="The run is `RUNNING`. Silence of the VM means nothing. The grace of a job that is over is "
        "`FinishGraceSeconds`, of one that is cancelling `CancelGraceSeconds`. As the job did: "
        + ", ".join(f"{_label(standing)} is `{outcome}`" for standing, outcome in ENDS_OF_JOBS.items())
        + ".",
        columns={"Job": tuple(Standing), "VM": tuple(Sight), "Age": BEYOND_OR_NOT, "Over": tuple(Noted)},
        situation=running,
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
        situation=finishing,
    ),
)
