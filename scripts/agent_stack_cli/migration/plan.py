"""What comes out of a migration: our parameters, a class document, and what becomes of each value."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from agent_stack.adapters.ssm.class_document import ClassDocument, ClassEntry
from agent_stack_cli.errors import CliError
from agent_stack_cli.migration.buildkite_rows import OWN_TOKEN
from agent_stack_cli.migration.credentials import HIDDEN, is_credential, shown
from agent_stack_cli.migration.merging import fitting, merged
from agent_stack_cli.migration.rows import Fate, Outcome, Row, Values, listed
from agent_stack_cli.migration.source import USE_A_FILE, Source
from agent_stack_cli.migration.table import ROWS, values
from agent_stack_cli.migration.vm_rows import stock_image
from agent_stack_cli.parameter_rules import MAX_STACK_KEY, nearest, problems, specification

LONGEST_KEY = 60
MASKED = "****"
"""What CloudFormation shows of a parameter with NoEcho, whether it was set or not."""
TOGETHER = {"VpcId": "Subnets", "Subnets": "VpcId"}
"""Parameters of which the template takes both or none."""
A_SETTING = re.compile(r",\s*[A-Za-z_][A-Za-z0-9_]*=")
"""What would end a value in the one line that AgentEnvironment is in a parameter file."""
MISPLACED = Outcome(
    fate=Fate.NOT_POSSIBLE,
    words="The value looks like a credential; it is not written to any file.",
    do="Replace the credential, because the file has it as plain text. Secrets go into SSM parameters (SecureString).",
)


OF_SPOT = frozenset({"fallback_to_on_demand", "spot_allocation_strategy", "spot_max_price", "standby",
                     "on_demand_base", "on_demand_percent"})  # fmt: skip
"""Class fields that the second class, on demand, does not get. One class with standby VMs is enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One parameter of the Elastic CI Stack.

    Attributes:
        value: as a report may show it.
        given: False for that stack's default.
    """

    name: str
    value: str
    given: bool
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A name that the Elastic CI Stack does not have.

    Attributes:
        nearest: the name that was meant, perhaps; empty for none.
    """

    name: str
    value: str
    nearest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """What comes out.

    Attributes:
        untouched: parameters with that stack's default of which nothing has to be said.
        unread: names whose value the source does not hold.
    """

    stack: str
    parameters: Mapping[str, str]
    document: Mapping[str, Any]
    items: tuple[Item, ...]
    unknown: tuple[Unknown, ...]
    unread: tuple[str, ...]
    untouched: int

    @property
    def new_stack(self) -> str:
        """A name for the new CloudFormation stack; never that of the old one, which a deployment would change."""
        name = "agent-stack-" + self.parameters["StackKey"].replace("_", "-")
        return name + "-new" if name == self.stack else name

    def of(self, fate: Fate) -> list[Item]:
        """The parameters of that fate."""
        return [item for item in self.items if item.outcome.fate is fate]


def migrate(source: Source, *, key: str | None = None) -> Migration:
    """What becomes of these parameters.

    Args:
        key: what the stack is registered as with Buildkite; else its queue.

    Raises:
        CliError: none of them is one of the Elastic CI Stack's, or the key is none.
    """
    if not any(name in ROWS for name in (*source.given, *source.unread)):
        raise CliError("no parameter is one of the Elastic CI Stack's", next=USE_A_FILE)
    old = values(_without_credentials(source.given), source.stack)
    # A file that knows a value only as the deployed one says nothing of it: its row writes nothing, and other rows take
    # that stack's default. The report says so.
    of_source = {row.name: _item(row, old, source) for row in ROWS.values() if row.name not in source.unread}
    told = {name: item for name, item in of_source.items() if item.given or ROWS[name].always}
    outcomes = fitting({name: item.outcome for name, item in told.items()})
    items = tuple(_together([replace(item, outcome=outcomes[name]) for name, item in told.items()]))
    room = max(1, min(LONGEST_KEY, MAX_STACK_KEY - 1 - len(old["BuildkiteQueue"])))  # the queue's key follows it
    name = key or re.sub(r"[^A-Za-z0-9_-]+", "-", old["BuildkiteQueue"])[:room].strip("-") or "ci"
    parameters = {
        "StackKey": name,
        "AgentTokenParameter": OWN_TOKEN,
        **merged(item.outcome for item in items),
        "ClassesParameter": f"/agent-stack/{name}/classes",
    }
    of_key: dict[str, str] = {given: parameters[given] for given in ("StackKey", "Queues") if given in parameters}
    if said := next(problems(of_key), ""):
        raise CliError(said, next="name another: --stack-key ci")
    return Migration(
        stack=source.stack,
        parameters={known: parameters[known] for known in specification() if known in parameters},
        document=_document(items, old),
        items=items,
        unknown=tuple(_unknown(source)),
        unread=tuple(source.unread),
        untouched=len(ROWS) - len(items) - sum(name in ROWS for name in source.unread),
    )


def _unknown(source: Source) -> Iterator[Unknown]:
    for name, value in source.given.items():
        if name not in ROWS:
            yield Unknown(
                name=HIDDEN if is_credential(name) else name,
                value=shown(name, value, known=False, secret=False),
                nearest=nearest(name, list(ROWS)),
            )


def _without_credentials(given: Mapping[str, str]) -> dict[str, str]:
    """What rules may see: of a token that it is there, and nothing of a credential in the wrong place."""
    return {
        name: HIDDEN if ROWS[name].secret and value.strip() else value
        for name, value in given.items()
        if name in ROWS and (ROWS[name].secret or not is_credential(value))
    }


def _item(row: Row, old: Values, source: Source) -> Item:
    given = source.given.get(row.name, row.default)
    misplaced = not row.secret and is_credential(given)
    outcome = MISPLACED if misplaced else _checked(row.rule(old))
    # Of a masked value nothing is known. Where nothing depends on it, the report does not count it as one that was set.
    idle = given == MASKED and outcome.fate is Fate.NOT_NEEDED
    return Item(
        name=row.name,
        value=shown(row.name, given, known=True, secret=row.secret),
        given=misplaced or (old.differs(row.name) and not idle),
        outcome=outcome,
    )


def _checked(outcome: Outcome) -> Outcome:
    """Nothing is written that the template, the class document or a parameter file does not take."""
    settings = {name: f"{name}={text}" for name, text in outcome.environment.items()}
    written = {**outcome.parameters, **settings}
    wrong = [
        *problems(outcome.parameters),
        *_misfits(outcome.fields),
        *(said for text in settings.values() for said in problems({"AgentEnvironment": text})),
        *(f"{text!r}: a comma before NAME= begins another setting" for text in settings.values() if _is_two(text)),
        *(f"{name}: the value has several lines" for name, text in written.items() if len(text.splitlines()) > 1),
    ]  # fmt: skip
    if not wrong:
        return outcome
    names = listed([*outcome.parameters, *outcome.fields, *outcome.environment])
    return outcome.alone(Fate.NOT_POSSIBLE, f"Not written: {'; '.join(wrong)}.", f"Set {names} yourself.")


def _is_two(setting: str) -> bool:
    return A_SETTING.search(setting) is not None


def _together(items: list[Item]) -> Iterator[Item]:
    """Without a VPC that lost its subnets to a wrong value, or the other way round."""
    written = {name for item in items for name in item.outcome.parameters}
    for item in items:
        other = TOGETHER.get(next(iter(item.outcome.parameters), ""))
        if other is None or other in written:
            yield item
        else:
            words, do = (
                f"Not written: it needs {other}, which could not be carried over.",
                f"Set {other} and {item.name}.",
            )
            yield replace(item, outcome=item.outcome.alone(Fate.NOT_POSSIBLE, words, do))


def _misfits(fields: Mapping[str, Any]) -> Iterator[str]:
    entry = {"image": "ami-00000000", "instance_types": ["m7i.large"], **fields}
    try:
        ClassEntry.model_validate(entry)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            place = ".".join(map(str, one["loc"]))
            yield f"{place}={one['input']!r}: {one['msg']}" if place else one["msg"].removeprefix("Value error, ")


def _document(items: tuple[Item, ...], old: Values) -> dict[str, Any]:
    """A class for jobs that name none; with a percentage of spot, one for jobs that must not be interrupted."""
    entry: dict[str, Any] = {"instance_types": ["t3.large"], "image": stock_image(old)}
    for item in items:
        entry |= item.outcome.fields
    classes = {"default": entry}
    if entry.get("fallback_to_on_demand"):
        steady = {name: value for name, value in entry.items() if name not in OF_SPOT}
        classes["on-demand"] = {**steady, "market": "on-demand"}
    document = {"classes": classes, "default_class": "default"}
    ClassDocument.model_validate_json(json.dumps(document))
    return document
