"""docs/decisions.md, from the function itself: every combination is tried, and what decides alike becomes one row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import product
from pathlib import Path

from agent_stack.domain.attempts import SPOT_LOSSES_BEFORE_ON_DEMAND
from agent_stack.domain.decisions import Action, decide
from agent_stack.domain.situations import BootAge, BootReport, JobPhase, Situation, VmVisibility, job_phase_of
from agent_stack.domain.states import CredentialHolder, JobState, Outcome, RunState
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
    JobPhase: {
        JobPhase.RESERVED: "reserved",
        JobPhase.LAPSED: "scheduled",
        JobPhase.AGENT: "with an agent",
        JobPhase.CANCELING: "canceling",
        JobPhase.CANCELED: "canceled",
        JobPhase.NEVER_RAN: "over unrun",
        JobPhase.OVER: "over",
        JobPhase.UNKNOWN: "not known",
    },
    VmVisibility: {
        VmVisibility.UP: "up",
        VmVisibility.GOING: "going",
        VmVisibility.GONE: "gone",
        VmVisibility.HIDDEN: "not shown yet",
        VmVisibility.MISSING: "missing",
    },
    CredentialHolder: {
        CredentialHolder.MAILBOX: "in the mailbox",
        CredentialHolder.VM: "the VM",
        CredentialHolder.TRACKER: "the tracker",
        CredentialHolder.UNKNOWN: "not read",
    },
    BootReport: {
        BootReport.NOTHING: "nothing of note",
        BootReport.LOST_CREDENTIAL: "credential lost",
        BootReport.NO_AGENT: "no agent will come",
    },
    BootAge: {
        BootAge.EARLY: "in time",
        BootAge.LATE: "late",
        BootAge.OVERDUE: "twice late",
        BootAge.BEYOND: "past its lifetime",
    },
}
"""By type first: members of two enumerations may be equal."""

ACTIONS = {
    Action.KEEP: "keep, look again",
    Action.RUN: "**running**: the agent's from here",
    Action.RECORD_JOB_OVER: "note the time",
    Action.EXTEND: "reserve again",
    Action.REISSUE: "issue another credential",
    Action.REVOKE: "**take the baton**, decide again",
    Action.TERMINATE: "**terminate** the VM, look again",
    Action.REQUEUE: "**hand back**",
    Action.FINISH: "**finish** the job",
    Action.END: "**end**",
}

ENDS_OF_JOBS = {
    JobPhase.CANCELED: Outcome.CANCELLED,
    JobPhase.NEVER_RAN: Outcome.RELEASED,
    JobPhase.OVER: Outcome.FINISHED,
}
"""How a run ends whose agent's job is over, where the VM gives no other reason."""

LEASE_RETRY = "**try again** (below)"


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
        "one row; an empty cell is any. `tests/unit/domain/test_decisions.py` holds the same tables, written by hand.",
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
        states.setdefault(job_phase_of(state), []).append(f"`{state}`" if state.islower() else "any other")
    rows = [f"| Job | {_label(job_phase)} | {', '.join(states[job_phase])} |" for job_phase in JobPhase]
    rows[-1] = rows[-1].removesuffix(" |") + "; or Buildkite did not tell |"
    rows += [
        f"| VM | {_label(visibility)} | {meaning} |"
        for visibility, meaning in (
            (VmVisibility.UP, "`pending`, `running`"),
            (VmVisibility.GOING, "`shutting-down`, `stopping`: its agent may still speak"),
            (VmVisibility.GONE, "`terminated`, `stopped`"),
            (VmVisibility.HIDDEN, "EC2 did not answer in full, or the VM is under 10 minutes old"),
            (VmVisibility.MISSING, "EC2 answered in full and did not show it, at least 10 minutes after its launch"),
        )
    ]
    rows += [
        f"| VM says | {_label(boot_report)} | {meaning} |"
        for boot_report, meaning in (
            (BootReport.NOTHING, "silence, or any stage of a boot"),
            (BootReport.LOST_CREDENTIAL, "`credential_lost`"),
            (BootReport.NO_AGENT, "`failed`, `agent_exited`"),
        )
    ]
    rows += [
        f"| Boot | {_label(boot_age)} | {meaning} |"
        for boot_age, meaning in (
            (BootAge.EARLY, "before the class's `boot_timeout_seconds`, from the binding"),
            (BootAge.LATE, "past it"),
            (BootAge.OVERDUE, "past twice that"),
            (BootAge.BEYOND, "past `MaxLifetimeSeconds`: the VM's own timer has ended it, whatever EC2 shows"),
        )
    ]
    return rows


def decided(section: Section) -> Mapping[Cell, str]:
    """What is said in each cell of a table that can be."""
    situations = {cell: section.situation(*cell) for cell in product(*section.columns.values())}
    return {cell: _said(situation) for cell, situation in situations.items() if situation is not None}


def _table(section: Section) -> list[str]:
    values = list(section.columns.values())
    found = rows(values, decided(section), TRIED_AGAIN, LEASE_RETRY)
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
    as_it_did = s.run.state is RunState.RUNNING and ENDS_OF_JOBS.get(s.job_phase) is decision.outcome
    return f"{ACTIONS[Action.END]} {'as the job did' if as_it_did else f'as {decision.outcome}'}"


# --- tables ---

WAITING = (JobPhase.RESERVED, JobPhase.LAPSED)
MOVED_ON = tuple(job_phase for job_phase in JobPhase if job_phase not in WAITING)
BEYOND_OR_NOT = (BootAge.EARLY, BootAge.BEYOND)
AGAIN = {"Reservation": tuple(Hold), "Attempts": tuple(Tries)}
BOOT = {
    "Baton": tuple(CredentialHolder),
    "Boot": tuple(BootAge),
    "VM says": tuple(BootReport),
    "VM": tuple(VmVisibility),
}


def _failed(hold: Hold, tries: Tries) -> Situation | None:
    return booting(
        CredentialHolder.TRACKER, BootAge.LATE, BootReport.NO_AGENT, VmVisibility.GONE, JobPhase.RESERVED, hold, tries
    )


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
        columns={"Job": tuple(JobPhase), "Dispatcher": tuple(GivenUp), "Age": BEYOND_OR_NOT},
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
        + ", ".join(f"{_label(job_phase)} is `{outcome}`" for job_phase, outcome in ENDS_OF_JOBS.items())
        + ".",
        columns={"Job": tuple(JobPhase), "VM": tuple(VmVisibility), "Age": BEYOND_OR_NOT, "Over": tuple(Noted)},
        situation=running,
    ),
    Section(
        title="Finishing, and Buildkite's answer was lost",
        about="The intention was recorded before the request, which is never repeated blindly: the job's state tells.",
        columns={
            "Job": tuple(JobPhase),
            "VM": tuple(VmVisibility),
            "Age": BEYOND_OR_NOT,
            "Asked": tuple(Asked),
        },
        situation=finishing,
    ),
)
