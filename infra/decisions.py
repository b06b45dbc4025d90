"""docs/development/decisions.md, from the hand-written tables of infra/decision_tables.py."""

from collections.abc import Iterator
from pathlib import Path

from agent_stack.domain.decisions import Action
from agent_stack.domain.situations import FINISH_SETTLES_AFTER
from infra import decision_words as words
from infra.decision_tables import TABLES, Table, Then
from infra.decision_words import Cases

PAGE = Path(__file__).resolve().parents[1] / "docs" / "development" / "decisions.md"

HEADINGS = {
    "job": "Job",
    "given_up": "Dispatcher",
    "holder": "Credential holder",
    "report": "VM reports",
    "vm": "VM",
    "boot": "Boot",
    "hold": "Reservation",
    "tries": "Attempts",
    "over": "Over",
    "asked": "Asked",
}
VM_WORDS = {
    words.UP: "`pending`, `running`",
    words.GOING: "`shutting-down`, `stopping`: its agent may still speak",
    words.GONE: "`stopped`, `terminated`",
    words.HIDDEN: "EC2 did not answer in full, or the VM is under 10 minutes old",
    words.MISSING: "EC2 answered in full and did not show it, at least 10 minutes after its launch",
}
BOOT_WORDS = {
    words.Boot.IN_TIME: "before the class's `boot_timeout_seconds`, from the binding",
    words.Boot.LATE: "past it",
    words.Boot.TWICE_LATE: "past twice that",
    words.Boot.PAST_LIFETIME: "past `MaxLifetimeSeconds`: the VM's own timer has ended it, whatever EC2 shows",
}


def page() -> str:
    """The page's text."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield from ("# Decisions", "")
    yield (
        "Written by scripts/generate from `infra/decision_tables.py`. `tests/unit/domain/test_decisions.py` proves "
        "that `domain/decisions.py` decides every combination of values as these tables say."
    )
    yield from ("", "Read a table from the top: **the first row that fits decides**. An empty cell is any value.", "")
    yield (
        "The credential in the VM's mailbox decides who owns the job. To revoke it is one conditional write; after it "
        "the tracker reads the job's state once more and decides again."
    )
    yield from ("", "## Words", "", "| Column | Value | Means |", "|---|---|---|")
    yield from _words()
    for table in TABLES:
        yield from ("", f"## {table.title}", "", table.about, "", *_table(table))


def _words() -> Iterator[str]:
    jobs = (words.RESERVED, words.SCHEDULED, words.AGENT, words.CANCELING, words.CANCELED, words.NEVER_RAN)
    for cases in (*jobs, words.RAN, words.NOT_KNOWN):
        named = sorted(f"`{state}`" for state in cases.values if state is not None and state.islower())
        rest = ["any other; or Buildkite did not answer"] if None in cases.values else []
        yield f"| Job | {cases.name} | {', '.join([*named, *rest])} |"
    yield f"| Job | {words.MOVED_ON.name} | all of these but reserved, scheduled and not known |"
    yield from (f"| VM | {cases.name} | {meaning} |" for cases, meaning in VM_WORDS.items())
    for cases in (words.LOST_CREDENTIAL, words.NO_AGENT):
        yield f"| VM reports | {cases.name} | {', '.join(sorted(f'`{stage}`' for stage in cases.values))} |"
    yield f"| VM reports | {words.NO_FAILURE.name} | silence, or any report but `agent_exited` and `failed` |"
    yield from (f"| Boot | {boot.value} | {meaning} |" for boot, meaning in BOOT_WORDS.items())
    yield f"| Asked | {words.Asked.JUST.value} | {FINISH_SETTLES_AFTER.seconds} s is longer than a request can take |"


def _table(table: Table) -> Iterator[str]:
    columns = [column for column in table.columns if any(column in row.when for row in table.rows)]
    yield "| " + " | ".join([*(HEADINGS[column] for column in columns), "Decision", "Because"]) + " |"
    yield "|---" * (len(columns) + 2) + "|"
    for row in table.rows:
        cells = [_cell(row.when.get(column)) for column in columns]
        yield "| " + " | ".join([*cells, _decision(row.then), row.reason]) + " |"


def _cell(cases: Cases | None) -> str:
    return "" if cases is None else cases.name


def _decision(then: Then | Table) -> str:
    if isinstance(then, Table):
        return f"[{then.title.lower()}](#{then.title.lower().replace(' ', '-')})"
    ends_as = f" as {then.outcome}" if then.action is Action.END else ""
    return _action(then.action) + ends_as + (", say so in the log" if then.odd else "")


def _action(action: Action) -> str:  # noqa: C901, PLR0911  (one line for each action; mypy proves that none is left out)
    match action:
        case Action.KEEP:
            return "keep, look again"
        case Action.RUN:
            return "**running**: the agent's from here"
        case Action.RECORD_JOB_OVER:
            return "record the time"
        case Action.EXTEND:
            return "reserve again"
        case Action.REISSUE:
            return "issue another credential"
        case Action.REVOKE:
            return "**revoke** the credential, decide again"
        case Action.TERMINATE:
            return "**terminate** the VM, look again"
        case Action.REQUEUE:
            return "**requeue**"
        case Action.FINISH:
            return "**fail** the job"
        case Action.END:
            return "**end**"
