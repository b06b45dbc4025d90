"""What is known of one parameter of the Elastic CI Stack, and the rules that turn its value into ours."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class Parity(StrEnum):
    """Whether this stack can do what the parameter is for."""

    COVERED = "covered"
    RECIPE = "recipe"
    """Not by one parameter: the row says how."""
    NOT = "not"
    NEEDLESS = "not needed"


class Fate(StrEnum):
    """What becomes of one value."""

    CARRIED = "carried over"
    CHANGED = "changed in meaning"
    NOT_NEEDED = "not needed here"
    NOT_POSSIBLE = "not possible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What becomes of one value.

    Attributes:
        words: why, or what it means now.
        do: what the operator has to do; empty for nothing.
        parameters: of our template, by name.
        fields: of the class that jobs get by default.
        environment: settings of the agent, which go into AgentEnvironment.
        own: the fields that come from this parameter alone; empty for all of them.
    """

    fate: Fate
    words: str = ""
    do: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    own: tuple[str, ...] = ()

    def alone(self, fate: Fate, words: str, do: str) -> "Outcome":
        """The outcome when nothing of it can be written."""
        return replace(self, fate=fate, words=words, do=do, parameters={}, fields={}, environment={}, own=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """The parameters of one Elastic CI Stack. What is not given has that stack's default.

    Attributes:
        stack: the name of the CloudFormation stack; empty where the source does not say it.
    """

    given: Mapping[str, str]
    defaults: Mapping[str, str]
    stack: str = ""

    def __getitem__(self, name: str) -> str:
        """The value in force."""
        return self.given.get(name, self.defaults[name]).strip()

    def on(self, name: str) -> bool:
        """Whether a switch is on."""
        return self[name].lower() == "true"

    def number(self, name: str) -> float:
        """A finite number; that stack's default where the value is none."""
        number = _number(self[name])
        return number if number is not None else float(self.defaults[name])

    def items(self, name: str) -> list[str]:
        """A list without its empty members."""
        return [item.strip() for item in self[name].split(",") if item.strip()]

    def differs(self, name: str) -> bool:
        """Whether the value is another than that stack's default. CloudFormation's 1.0 is 1."""
        return _plain(self[name]) != _plain(self.defaults[name])


Rule = Callable[[Values], Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One parameter of the Elastic CI Stack.

    Attributes:
        here: how to get the same here, or why not: the text of docs/reference/elastic-ci-stack.md.
        always: there is something to write or to say also where the value is that stack's default.
        secret: its value is a credential, and is shown nowhere.
    """

    name: str
    default: str
    parity: Parity
    here: str
    rule: Rule
    always: bool = False
    secret: bool = False


def covered(name: str, default: str, here: str, rule: Rule, *, always: bool = False) -> Row:
    """A row of what this stack does."""
    return Row(name=name, default=default, parity=Parity.COVERED, here=here, rule=rule, always=always)


def recipe(name: str, default: str, here: str, rule: Rule, *, always: bool = False, secret: bool = False) -> Row:
    """A row of what takes more than one parameter."""
    return Row(name=name, default=default, parity=Parity.RECIPE, here=here, rule=rule, always=always, secret=secret)


def absent(name: str, default: str, here: str, rule: Rule | None = None) -> Row:
    """A row of what this stack does not do. Without a rule, because it does not need it."""
    if rule is None:
        return Row(name=name, default=default, parity=Parity.NEEDLESS, here=here, rule=needless(f"{here}."))
    return Row(name=name, default=default, parity=Parity.NOT, here=here, rule=rule)


def to(parameter: str, name: str, words: str = "") -> Rule:
    """The value as it is, under our name."""
    return lambda values: carried(words, parameters={parameter: values[name]})


def needless(words: str) -> Rule:
    """Nothing is written, and nothing has to be done."""
    return lambda _: Outcome(fate=Fate.NOT_NEEDED, words=words)


def impossible(words: str, do: str) -> Rule:
    """Nothing is written, and the operator decides."""
    return lambda _: Outcome(fate=Fate.NOT_POSSIBLE, words=words, do=do)


def where(name: str, choices: Mapping[str, Rule], other: Rule) -> Rule:
    """By the value in force."""
    return lambda values: choices.get(values[name].lower(), other)(values)


def with_setting(variable: str, name: str, words: str = "") -> Rule:
    """The value as a setting of the agent."""
    return lambda values: carried(words, environment={variable: values[name]})


def carried(
    words: str = "",
    *,
    parameters: Mapping[str, str] | None = None,
    fields: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    own: tuple[str, ...] = (),
) -> Outcome:
    """Means the same here."""
    return Outcome(
        fate=Fate.CARRIED,
        words=words,
        parameters=parameters or {},
        fields=fields or {},
        environment=environment or {},
        own=own,
    )


def changed(
    words: str,
    do: str = "",
    *,
    parameters: Mapping[str, str] | None = None,
    fields: Mapping[str, Any] | None = None,
) -> Outcome:
    """Means something else here."""
    return Outcome(fate=Fate.CHANGED, words=words, do=do, parameters=parameters or {}, fields=fields or {})


def unneeded(words: str) -> Outcome:
    """See `needless`."""
    return Outcome(fate=Fate.NOT_NEEDED, words=words)


def refused(words: str, do: str) -> Outcome:
    """See `impossible`."""
    return Outcome(fate=Fate.NOT_POSSIBLE, words=words, do=do)


def listed(items: Sequence[str]) -> str:
    """Items as a person reads them."""
    return ", ".join(items)


def _number(value: str) -> float | None:
    """None where it is no finite number: nan and inf are texts."""
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _plain(value: str) -> str:
    number = _number(value)
    return f"{number:g}" if number is not None else ",".join(part.strip() for part in value.split(","))
