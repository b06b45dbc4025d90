"""The report of a migration, as Markdown and for a terminal."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent_stack_cli.migration.next_steps import NextSteps
from agent_stack_cli.migration.plan import Item, Migration
from agent_stack_cli.migration.rows import Fate
from agent_stack_cli.migration.table import ROWS
from agent_stack_cli.output import Output, clean

HEADINGS = {
    Fate.CARRIED: "Carried over",
    Fate.CHANGED: "Changed in meaning",
    Fate.NOT_NEEDED: "Not needed here",
    Fate.NOT_POSSIBLE: "Not possible",
}
ORDER = (Fate.NOT_POSSIBLE, Fate.CHANGED)
"""What to do comes first from what does not work."""
UNREAD = (
    "The file does not hold the value. The class and the parameters were made without it, as if the Elastic stack had "
    "its default. Read the live stack: --from-stack NAME."
)
SHARE = "When builds pass there, let the new stack take jobs of the old stack's queue, beside the old stack:"


def to_do(migration: Migration) -> list[tuple[str, str]]:
    """What the operator has to do, and the parameters that it comes from. Said once where several need the same."""
    found: dict[str, list[str]] = {}
    for fate in ORDER:
        for item in migration.of(fate):
            if item.outcome.do:
                found.setdefault(item.outcome.do, []).append(item.name)
    for name in migration.unread:
        found.setdefault(UNREAD, []).append(name)
    for unknown in migration.unknown:
        meant = f"Did you mean {unknown.nearest}? Correct the name and migrate again" if unknown.nearest else ""
        do = f"{meant or 'Find out what it was for'}; the Elastic CI Stack of 2026 has no such parameter."
        found.setdefault(do, []).append(unknown.name)
    return [(", ".join(names), do) for do, names in found.items()]


def here(item: Item) -> str:
    """What was written for it."""
    outcome = item.outcome
    written = [f"{name}={value}" for name, value in outcome.parameters.items()]
    written += [f"AgentEnvironment: {name}={value}" for name, value in outcome.environment.items()]
    written += [f"class: {name} = {_json(value)}" for name, value in outcome.fields.items()]
    return "; ".join(written)


def markdown(migration: Migration, steps: NextSteps) -> str:
    """The whole report."""
    of = f" `{migration.stack}`" if migration.stack else ""
    lines = [f"# From the Elastic CI Stack{of} to agent-stack-ec2", "", _sum(migration), ""]
    lines += ["## What to do", ""]
    lines += [f"{number}. **{_safe(names)}** {_safe(do)}" for number, (names, do) in enumerate(to_do(migration), 1)]
    lines += ["", "## What to run", "", _trial(steps), "", "```", *steps.trial, "```", ""]
    lines += [SHARE, "", "```", steps.share, "```", ""]
    lines += ["docs/tasks/migrate-from-elastic-ci-stack.md has the rest, and the way back.", ""]
    lines += [f"docs/reference/elastic-ci-stack.md has all {len(ROWS)} parameters.", ""]
    for fate, heading in HEADINGS.items():
        lines += _section(heading, migration.of(fate))
    if migration.unknown:
        lines += ["## Unknown", "", "| Name | Value | Nearest name |", "|---|---|---|"]
        lines += [f"| {_safe(u.name)} | {_code(u.value)} | {u.nearest or 'none'} |" for u in migration.unknown]
        lines += [""]
    if migration.unread:
        lines += ["## Without a value in the file", "", _safe(", ".join(migration.unread)) + ".", ""]
    return "\n".join(lines)


def show(migration: Migration, output: Output, files: tuple[Path, ...], steps: NextSteps) -> None:
    """What a person reads first; the whole report is in its file."""
    parameters, classes, report = files
    if output.as_json:
        output.json(view(migration, files, steps))
        return
    output.line(_sum(migration))
    output.head("What to do")
    for number, (names, do) in enumerate(to_do(migration), 1):
        output.line(f"{number:>2}. {names}", "head")
        output.line(f"    {do}")
    output.head("Written")
    output.line(f"{parameters}: {len(migration.parameters)} parameters for scripts/deploy")
    output.line(f"{classes}: the class document: {', '.join(migration.document['classes'])}")
    output.line(f"{report}: this, and what became of each value")
    output.head("Next")
    output.line(_trial(steps))
    for line in steps.trial:
        output.line(f"  {line}")
    output.line(SHARE)
    output.line(f"  {steps.share}")


def view(migration: Migration, files: tuple[Path, ...], steps: NextSteps) -> dict[str, Any]:
    """The same for programs."""
    return {
        "files": [str(path) for path in files],
        "stack": migration.stack,
        "parameters": dict(migration.parameters),
        "classes": dict(migration.document),
        "items": [
            {
                "name": item.name,
                "value": item.value,
                "given": item.given,
                "fate": item.outcome.fate.value,
                "words": item.outcome.words,
                "do": item.outcome.do,
                "here": here(item),
            }
            for item in migration.items
        ],
        "unknown": list(migration.unknown),
        "unread": list(migration.unread),
        "untouched": migration.untouched,
        "next": list(steps.trial),
        "share": steps.share,
    }


def _trial(steps: NextSteps) -> str:
    return f"Make the queue {steps.queue} in the cluster for a trial. The new stack then serves that queue alone:"


def _sum(migration: Migration) -> str:
    given = sum(item.given for item in migration.items)
    counts = [f"{len(migration.of(fate))} {fate}" for fate in HEADINGS]
    counts += [f"{len(migration.unknown)} unknown"] if migration.unknown else []
    counts += [f"{len(migration.unread)} without a value"] if migration.unread else []
    return (
        f"{given} of {len(ROWS)} parameters have a value of their own, and {len(migration.items) - given} defaults "
        f"matter here: {', '.join(counts)}. The other {migration.untouched} have the Elastic CI Stack's default, "
        "of which nothing has to be said."
    )


def _section(heading: str, items: list[Item]) -> Iterator[str]:
    if not items:
        return
    yield from (f"## {heading}", "", "| Elastic CI Stack | Value | Here | |", "|---|---|---|---|")
    for item in items:
        value = f"{_code(item.value)}{'' if item.given else ' (default)'}"
        yield f"| {item.name} | {value} | {_code(here(item))} | {_safe(item.outcome.words)} |"
    yield ""


def _code(text: str) -> str:
    return f"`{_safe(text)}`" if text else ""


def _safe(text: str) -> str:
    """No control characters, and no end of a table's cell."""
    return clean(text).replace("|", "\\|").replace("`", "'")


def _json(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else json.dumps(value).strip('"')
