"""The report of a migration, as Markdown and for a terminal."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_stack_cli.migration.next_steps import NextSteps
from agent_stack_cli.migration.plan import Item, Migration
from agent_stack_cli.migration.rows import Fate
from agent_stack_cli.migration.table import ROWS
from agent_stack_cli.output import Output, clean
from agent_stack_cli.parameter_rules import specification

LONGEST_VALUE = 40
HEADINGS = {
    Fate.CARRIED: "Carried over",
    Fate.CHANGED: "Changed in meaning",
    Fate.NOT_NEEDED: "Not needed here",
    Fate.NOT_POSSIBLE: "Not possible",
}
UNREAD = (
    "The file does not hold the value. The class and the parameters were made without it, as if the Elastic stack had "
    "its default. Read the live stack: --from-stack NAME."
)
SHARE = "When builds pass there, let the new stack take jobs of the old stack's queue, beside the old stack:"
NOT_DONE = "Not carried over: decide for each"
OTHERWISE = "Carried over with another meaning: check each"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToDo:
    """What the operator has to do.

    Attributes:
        names: the parameters that it comes from, and where there is a single one its value.
        why: what became of them.
        group: `NOT_DONE` or `OTHERWISE`.
    """

    names: str
    why: str
    do: str
    group: str


def to_do(migration: Migration) -> list[ToDo]:
    """What the operator has to do; what does not work comes first. Said once where several need the same."""
    found: dict[str, list[Item]] = {}
    for fate in (Fate.NOT_POSSIBLE, Fate.CHANGED):
        for item in migration.of(fate):
            if item.outcome.do:
                found.setdefault(item.outcome.do, []).append(item)
    points = [
        ToDo(
            names=_named(items),
            why=" ".join(dict.fromkeys(item.outcome.words for item in items)),
            do=do,
            group=NOT_DONE if items[0].outcome.fate is Fate.NOT_POSSIBLE else OTHERWISE,
        )
        for do, items in found.items()
    ]
    points += [ToDo(names=", ".join(migration.unread), why="", do=UNREAD, group=NOT_DONE)] if migration.unread else []
    for unknown in migration.unknown:
        meant = f"Did you mean {unknown.nearest}? Correct the name and migrate again" if unknown.nearest else ""
        do = f"{meant or 'Find out what it was for'}; the Elastic CI Stack of 2026 has no such parameter."
        points.append(ToDo(names=unknown.name, why="", do=do, group=NOT_DONE))
    return sorted(points, key=lambda point: point.group != NOT_DONE)


def _named(items: Sequence[Item]) -> str:
    """One with its value, as long as that is short; several by their names."""
    if len(items) == 1 and items[0].value and len(items[0].value) <= LONGEST_VALUE:
        return f"{items[0].name}={items[0].value}"
    return ", ".join(item.name for item in items)


def here(item: Item) -> str:
    """What was written for it."""
    outcome = item.outcome
    written = [f"{name}={value}" for name, value in outcome.parameters.items()]
    written += [f"AgentEnvironment: {name}={value}" for name, value in outcome.environment.items()]
    fields = {name: outcome.fields[name] for name in outcome.own} if outcome.own else outcome.fields
    written += [f"class: {name} = {_json(value)}" for name, value in fields.items()]
    return "; ".join(written)


def markdown(migration: Migration, steps: NextSteps) -> str:
    """The whole report."""
    of = f" `{migration.stack}`" if migration.stack else ""
    lines = [f"# From the Elastic CI Stack{of} to agent-stack-ec2", "", _sum(migration), ""]
    lines += ["## What you get", "", *_new_stack(migration), ""]
    lines += ["## What to do", ""]
    for group, points in _grouped(migration):
        lines += [f"### {group}", ""]
        for number, one in points:
            lines += [f"{number}. **{_safe(one.names)}**", *(f"   {_safe(text)}" for text in _texts(one)), ""]
    lines += ["## What to run", "", _trial(steps), "", "```", *steps.trial, "```", ""]
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
    for group, points in _grouped(migration):
        output.line(group)
        for number, one in points:
            output.line(f"{number:>2}. {one.names}", "head")
            for text in _texts(one):
                output.line(f"    {text}")
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
        "to_do": to_do(migration),
        "next": list(steps.trial),
        "share": steps.share,
    }


def _trial(steps: NextSteps) -> str:
    return f"Make the queue {steps.queue} in the cluster for a trial. The new stack then serves that queue alone:"


def _sum(migration: Migration) -> str:
    """How much became of what, in one paragraph."""
    given = sum(item.given for item in migration.items)
    counts = [f"{len(migration.of(fate))} {fate}" for fate in HEADINGS]
    counts += [f"{len(migration.unknown)} unknown"] if migration.unknown else []
    counts += [f"{len(migration.unread)} without a value"] if migration.unread else []
    return (
        f"That stack sets {given} of its {len(ROWS)} parameters, and {len(migration.items) - given} of its defaults "
        f"matter here: {', '.join(counts)}. The other {migration.untouched} need nothing."
    )


def _grouped(migration: Migration) -> Iterator[tuple[str, list[tuple[int, ToDo]]]]:
    """What to do, under its headings, numbered through."""
    numbered = list(enumerate(to_do(migration), 1))
    for group in (NOT_DONE, OTHERWISE):
        if points := [(number, one) for number, one in numbered if one.group == group]:
            yield group, points


def _texts(one: ToDo) -> tuple[str, ...]:
    """What became of it, and what to do."""
    return (one.why, f"Next: {one.do}") if one.why else (one.do,)


def _new_stack(migration: Migration) -> Iterator[str]:
    """The new stack in a few lines: what a reader compares with the old one first."""
    given = migration.parameters
    most = given.get("MaxInstances", specification()["MaxInstances"]["Default"])
    launches = "" if given.get("LaunchEnabled", "true") == "true" else ", and none starts until LaunchEnabled=true"
    yield f"The CloudFormation stack `{migration.new_stack}`, with the key `{given['StackKey']}` at Buildkite."
    yield f"One VM for each job, at most {most} at once{launches}. The old stack stays as it is."
    yield from ("", "| Class | Instance types | Bought as | Disk | Standby VMs |", "|---|---|---|---|---|")
    for name, entry in migration.document["classes"].items():
        yield (
            f"| {name} | {', '.join(entry['instance_types'])} | {_bought(entry)} | "
            f"{entry.get('volume_gib', 40)} GiB | {_standby(entry.get('standby'))} |"
        )


def _bought(entry: Mapping[str, Any]) -> str:
    """Spot, on-demand, or how much of each."""
    if entry.get("market", "on-demand") != "spot":
        return "on-demand"
    share = entry.get("on_demand_percent")
    base = entry.get("on_demand_base")
    parts = ["spot"]
    parts += [f"{share} % on-demand"] if share else []
    parts += [f"the first {base} on-demand"] if base else []
    parts += ["on-demand where spot has nothing"] if entry.get("fallback_to_on_demand") else []
    return ", ".join(parts)


def _standby(wanted: Mapping[str, Any] | None) -> str:
    if not wanted:
        return "none"
    return str(wanted["hot"]) + (", and more by schedule" if wanted.get("schedule") else "")


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
