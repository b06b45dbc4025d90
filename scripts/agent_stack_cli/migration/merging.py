"""One set of parameters out of what all rows write, and which row wrote too much."""

from collections.abc import Iterable, Iterator, Mapping

from agent_stack_cli.migration.rows import Fate, Outcome, listed
from agent_stack_cli.parameter_rules import problems, specification

LISTS = frozenset(name for name, known in specification().items() if known["Type"] == "CommaDelimitedList")
SETTINGS = "AgentEnvironment"
"""Where the settings of all rows go."""


def merged(outcomes: Iterable[Outcome]) -> dict[str, str]:
    """All parameters. Lists of several rows become one list."""
    found, environment = dict[str, str](), dict[str, str]()
    for outcome in outcomes:
        environment |= outcome.environment
        for name, value in outcome.parameters.items():
            if name in LISTS and found.get(name) and value:
                both = dict.fromkeys((*found[name].split(","), *value.split(",")))
                found[name] = ",".join(both)
            else:
                found[name] = value
    if environment:
        found[SETTINGS] = _settings(environment)
    return found


def fitting(outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """The same, but what fits alone and not together is left out: the longest first, until the rest can be deployed."""
    kept = dict(outcomes)
    while wrong := next(_misfits(merged(kept.values())), None):
        parameter, said = wrong
        by_length = sorted(_written(kept, parameter), key=lambda pair: len(pair[1]))
        if not by_length:
            return kept
        culprit = by_length.pop()[0]
        others = f" with {listed([name for name, _ in by_length])}" if by_length else ""
        kept[culprit] = kept[culprit].alone(
            Fate.NOT_POSSIBLE,
            f"Not written: {parameter}{others}: {said}.",
            f"Shorten it, and set {parameter} yourself.",
        )
    return kept


def _misfits(parameters: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in parameters.items():
        for said in problems({name: value}):
            yield name, said.removeprefix(f"{name}={value!r}: ")


def _written(outcomes: Mapping[str, Outcome], parameter: str) -> Iterator[tuple[str, str]]:
    """Each row that writes into it, and what it writes."""
    for name, outcome in outcomes.items():
        if parameter == SETTINGS and outcome.environment:
            yield name, _settings(outcome.environment)
        elif parameter in outcome.parameters:
            yield name, outcome.parameters[parameter]


def _settings(environment: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in environment.items())
