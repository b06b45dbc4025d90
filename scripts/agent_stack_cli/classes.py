"""`agent-stack classes`: checks, compares, writes and explains the class document."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff

from botocore.exceptions import ClientError

from agent_stack.adapters.ssm.class_document import ClassDocument, read_classes
from agent_stack.adapters.ssm.json_document import read_json
from agent_stack.domain.classes import ClassBook, Unmatched
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import QueueKey
from agent_stack.domain.timeout_check import validate_standby, validate_timeouts
from agent_stack_cli.class_checks import catalog, of_account
from agent_stack_cli.errors import CliError, code_of, command
from agent_stack_cli.stacks import Stack

STANDARD_BYTES, ADVANCED_BYTES = 4096, 8192
"""How large a parameter of each tier may be. Source: Parameter Store's tiers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A class document.

    Attributes:
        name: of its file, or of the parameter that holds it.
        path: of its file; empty for a deployed one.
    """

    name: str
    text: str
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassProblem:
    """What is wrong with a class, or with the document around it.

    Attributes:
        vm_class: its name; empty for the document.
        severity: `error` when no VM of the class can be launched, else `warning`.
    """

    vm_class: str
    severity: str
    problem: str

    @property
    def words(self) -> str:
        """All of it in one line."""
        return f"class {self.vm_class}: {self.problem}" if self.vm_class else self.problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What was written: the parameter, its tier, and its new version; None when nothing was to change."""

    parameter: str
    tier: str
    version: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """The class that a job gets; where none fits, only `reason` is filled.

    Attributes:
        fits: whether the job gets a VM of a class.
    """

    fits: bool
    reason: str = ""
    vm_class: str = ""
    instance_types: tuple[str, ...] = ()
    capacity_type: str = ""
    image: str = ""


def deployed(stack: Stack) -> Document:
    """The document in force.

    Raises:
        CliError: neither the operator's nor the default one is there.
    """
    for name in (stack.settings.classes_parameter, stack.settings.default_classes_parameter):
        if not name:
            continue
        try:
            text = stack.session.ssm.get_parameter(Name=name)["Parameter"].get("Value", "")
        except ClientError as error:
            if code_of(error) != "ParameterNotFound":
                raise
        else:
            return Document(name=name, text=text)
    raise CliError(
        f"{stack.name} has no class document",
        next=stack.agent_stack("classes", "push", "classes.json")
        if stack.settings.classes_parameter
        else stack.deploy(),
    )


def book_of(stack: Stack, document: Document) -> ClassBook:
    """The classes, with what EC2 says of their types and images.

    Raises:
        CliError: the document is wrong.
    """
    try:
        return read_classes(
            document.text,
            name=document.name,
            deployment_tags=stack.settings.agent_tags,
            shapes=catalog(stack),
            shipped=document.name == stack.settings.default_classes_parameter,
        )
    except AgentStackError as error:
        path = (document.path,) if document.path else ()
        raise CliError(str(error), next=stack.agent_stack("classes", "validate", *path)) from None


def validate(stack: Stack, document: Document) -> list[ClassProblem]:
    """What this account, region and deployment would refuse, class by class."""
    try:
        book = book_of(stack, document)
    except CliError as error:
        return [ClassProblem(vm_class="", severity="error", problem=error.message)]
    found = [
        ClassProblem(vm_class="", severity="error", problem=str(misfit))
        for misfit in validate_timeouts(stack.settings.policy, book)
    ]
    found += [ClassProblem(vm_class="", severity="warning", problem=str(misfit)) for misfit in validate_standby(book)]
    found += [
        ClassProblem(vm_class="" if name in book.faults else name, severity="error", problem=str(error))
        for name, error in book.broken.items()
    ]
    for vm_class in book.classes.values():
        found += [
            ClassProblem(vm_class=vm_class.name, severity=severity, problem=problem)
            for severity, problem in of_account(stack, vm_class)
        ]
    return found


def differences(stack: Stack, text: str) -> list[str]:
    """A unified diff from the document in force to this one, both in one form; empty when they mean the same."""
    old = deployed(stack)
    return list(unified_diff(list(_lines(old.text)), list(_lines(text)), fromfile=old.name, tofile="new", lineterm=""))


def push(stack: Stack, document: Document) -> Pushed:
    """Writes the document into the operator's parameter. The dispatcher reads it within a minute.

    Raises:
        CliError: the stack names no parameter for it, or the document is too large.
    """
    name, text = stack.settings.classes_parameter, document.text
    if not name:
        wanted = f"/agent-stack/{stack.name}/classes"
        put = ("ssm", "put-parameter", "--name", wanted, "--type", "String", "--value", f"file://{document.path}")
        raise CliError(
            f"{stack.name} uses its default class: ClassesParameter is empty",
            next=f"{stack.aws(*put)} && {stack.deploy(f'ClassesParameter={wanted}')}",
        )
    size = len(text.encode())
    if size > ADVANCED_BYTES:
        raise CliError(
            f"the document has {size} bytes; a parameter holds {ADVANCED_BYTES}",
            next="write it without spaces: " + command("python3", "-m", "json.tool", "--compact", document.path),
        )
    tier = "Standard" if size <= STANDARD_BYTES else "Advanced"
    try:
        current = stack.session.ssm.get_parameter(Name=name)["Parameter"]
    except ClientError as error:
        if code_of(error) != "ParameterNotFound":
            raise
        current = {}
    if current.get("Value") == text:
        return Pushed(parameter=name, tier=tier, version=None)
    kept = _tier_of(stack, name) if current else ""
    if kept == "Advanced":
        tier = kept  # an advanced parameter cannot become a standard one
    written = stack.session.ssm.put_parameter(
        Name=name,
        Value=text,
        Type="String",
        Overwrite=True,
        Tier=tier,  # type: ignore[arg-type]  # one of the literal names
    )
    return Pushed(parameter=name, tier=tier, version=written["Version"])


def explain(book: ClassBook, rules: Sequence[str], queue: QueueKey) -> Explained:
    """The class that a job with these agent query rules gets, or why none."""
    match = book.match(tuple(rules), queue)
    if isinstance(match, Unmatched):
        return Explained(fits=False, reason=match.reason)
    return Explained(
        fits=True,
        vm_class=match.name,
        instance_types=match.instance_types,
        capacity_type=match.capacity_type,
        image=match.image,
    )


def _tier_of(stack: Stack, name: str) -> str:
    try:
        facts = stack.session.parameter_facts(name)
    except ClientError:
        return ""
    return "" if facts is None else str(facts.get("Tier", ""))


def _lines(text: str) -> Iterator[str]:
    try:
        document = ClassDocument.model_validate(read_json(text))
    except ValueError:
        yield from text.splitlines()
        return
    shown = document.model_dump(mode="json", exclude_defaults=True)
    yield from json.dumps(shown, indent=2, sort_keys=True).splitlines()
