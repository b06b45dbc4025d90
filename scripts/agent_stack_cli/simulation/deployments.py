"""What is tried: parameters of the template and a class document, each with where it comes from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from agent_stack_cli.errors import PROGRAM, CliError, is_there, read_text, words_of
from agent_stack_cli.parameter_rules import problems, read_file, specification
from agent_stack_cli.stacks import Stack

FILE_REMEDY = "name a file of Name=value lines, such as migrate writes and scripts/deploy reads"
CLASSES_REMEDY = f"name a class document; check it with {PROGRAM} classes validate FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One set.

    Attributes:
        name: what the report calls it.
        parameters: those that somebody decided; the others have the template's defaults.
        classes: the class document; empty for the template's own.
        source, classes_source: where each comes from, for the report.
    """

    name: str
    parameters: Mapping[str, str]
    classes: str
    source: str
    classes_source: str

    @property
    def queue(self) -> str:
        """The queue of jobs that name none: the first one of the stack."""
        return self.queues[0]

    @property
    def queues(self) -> list[str]:
        """The queues that the stack serves."""
        named = self.parameters.get("Queues") or str(specification()["Queues"]["Default"])
        return [queue.strip() for queue in named.split(",") if queue.strip()]

    def value(self, parameter: str) -> str:
        """A parameter's value, or the template's default."""
        return self.parameters.get(parameter, str(specification()[parameter].get("Default", "")))

    def with_classes(self, path: Path) -> "Deployment":
        """The same with the class document in that file.

        Raises:
            CliError: it cannot be read, or there is nothing in it.
        """
        text = read_text(path, next=CLASSES_REMEDY)
        if not text.strip():
            raise CliError(f"{path} is empty", next=CLASSES_REMEDY)
        return replace(self, classes=text, classes_source=str(path))


def of_defaults() -> Deployment:
    """The template's own defaults."""
    return Deployment(
        name="defaults", parameters={}, classes="", source="the template's defaults", classes_source=_OF_THE_TEMPLATE
    )


def of_file(path: Path) -> Deployment:
    """The parameters in a file.

    Raises:
        CliError: a line is no Name=value, or a parameter cannot be so.
    """
    try:
        given = read_file(read_text(path, next=FILE_REMEDY))
    except ValueError as error:
        raise CliError(f"{path}: {error}", next=FILE_REMEDY) from None
    return Deployment(
        name=path.stem, parameters=checked(given), classes="", source=str(path), classes_source=_OF_THE_TEMPLATE
    )


def of_stack(stack: Stack) -> Deployment:
    """What is deployed, with the class document in force.

    Raises:
        CliError: the class document cannot be read.
    """
    settings = stack.settings
    name = settings.classes_parameter or settings.default_classes_parameter
    try:
        text = str(stack.session.ssm.get_parameter(Name=name)["Parameter"].get("Value", ""))
    except (ClientError, BotoCoreError) as error:
        raise CliError(
            f"the class document {name} cannot be read: {words_of(error)}",
            next="name one in a file: --classes classes.json",
        ) from None
    known = specification()
    parameters = {name: value for name, value in stack.parameters.items() if name in known}
    return Deployment(
        name=stack.name, parameters=parameters, classes=text, source=f"the stack {stack.name}", classes_source=name
    )


def changed(base: Deployment, given: Iterable[str], *, name: str | None = None) -> Deployment:
    """A set with other values: each word is Name=value, or a file of such lines.

    Raises:
        CliError: a word is neither, or a parameter cannot be so.
    """
    values: dict[str, str] = {}
    said = []
    for word in given:
        parameter, equals, value = word.partition("=")
        if equals:
            values[parameter] = value
            said.append(word)
        elif word in specification() and not is_there(Path(word)):
            raise CliError(f"the parameter {word} has no value", next=f"write it as {word}=VALUE")
        else:
            read = of_file(Path(word))
            values |= read.parameters
            said.append(read.source)
    if not values:
        return base
    return replace(
        base,
        name=name or base.name,
        parameters={**base.parameters, **checked(values)},
        source=f"{base.source}, with {', '.join(said)}",
    )


def checked(given: Mapping[str, str]) -> Mapping[str, str]:
    """The parameters, if the template takes them.

    Raises:
        CliError: one is unknown, or has a value that it may not have.
    """
    if wrong := list(problems(given)):
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise CliError(f"{wrong[0]}{more}", next="correct it; docs/reference/parameters.md lists every parameter")
    return given


_OF_THE_TEMPLATE = "the template's class `default`"
