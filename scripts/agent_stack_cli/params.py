"""`agent-stack params`: every parameter, its value, and what a change of it affects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent_stack_cli.errors import CliError
from agent_stack_cli.output import Output
from agent_stack_cli.parameter_rules import problems, specification
from agent_stack_cli.stacks import Stack

EFFECTS: Mapping[str, str] = {
    "functions": "at once: the functions run with it after the deployment",
    "updates": "at once: changes in place",
    "adds_or_removes": "at once: makes or removes",
    "new_vms": "new VMs: VMs that run keep what they were launched with",
    "replaces": "replaces, with a new one made first",
}
"""What each kind of effect means, from the mildest to the strongest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter.

    Attributes:
        value: as deployed; None where the stack does not have the parameter.
        affects: by kind of effect, the template's resources.
    """

    name: str
    value: str | None
    default: str | None
    effect: str
    affects: Mapping[str, Any]
    description: str
    problem: str


def read(stack: Stack, names: list[str]) -> list[Parameter]:
    """The named parameters, or all.

    Raises:
        CliError: there is no such parameter.
    """
    known, deployed = specification(), stack.parameters
    if unknown := next(iter(problems(dict.fromkeys([name for name in names if name not in known], ""))), None):
        raise CliError(unknown, next=stack.agent_stack("params"))
    return [
        Parameter(
            name=name,
            value=deployed.get(name),
            default=None if "Default" not in known[name] else str(known[name]["Default"]),
            effect=_strongest(known[name]["Affects"]),
            affects=known[name]["Affects"],
            description=known[name]["Description"],
            problem="" if name not in deployed else next(problems({name: deployed[name]}), ""),
        )
        for name in (names or known)
    ]


def show(parameters: list[Parameter], stack: Stack, output: Output) -> None:
    """The list for people; details where few are named."""
    if output.as_json:
        output.json(parameters)
        return
    if len(parameters) > 3:  # noqa: PLR2004  (more than three are a list)
        output.table(
            ("parameter", "value", "a change takes effect"),
            [(p.name, "not there yet" if p.value is None else p.value, p.effect.partition(":")[0]) for p in parameters],
        )
        output.line()
        output.line("at once: with the deployment. new VMs: VMs that run keep the old value.", "quiet")
        output.line("replaces: params NAME lists what CloudFormation replaces.", "quiet")
        return
    for parameter in parameters:
        output.line(parameter.name, "head")
        output.line(parameter.description)
        output.line(f"Value in {stack.name}: {parameter.value!r}; default: {parameter.default!r}")
        for kind, text in EFFECTS.items():
            if resources := parameter.affects.get(kind):
                output.line(f"{text}: {', '.join(resources)}")
        if parameter.problem:
            output.line(parameter.problem, "error")


def _strongest(affects: Mapping[str, Any]) -> str:
    return next((text for kind, text in reversed(list(EFFECTS.items())) if affects.get(kind)), "nothing")
