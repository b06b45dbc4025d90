"""The verbs of `agent-stack classes`."""

from pathlib import Path
from typing import Annotated

import typer

from agent_stack.domain.identifiers import QueueKey
from agent_stack_cli import classes
from agent_stack_cli.errors import CliError, read_text
from agent_stack_cli.stacks import Stack
from agent_stack_cli.verbs import Call, verb

classes_app = typer.Typer(help="Check, compare, write and explain the class document.", no_args_is_help=True)
FileArgument = Annotated[Path, typer.Argument(help="A class document.")]


def _document(stack: Stack, path: Path | None) -> classes.Document:
    """The document in that file, or the one in force."""
    if path is None:
        return classes.deployed(stack)
    text = read_text(path, next=stack.agent_stack("classes", "validate", "FILE"))
    return classes.Document(name=str(path), text=text, path=str(path))


@verb(classes_app, "validate", "agent-stack classes validate classes.json")
def validate_verb(
    call: Call, *, file: Annotated[Path | None, typer.Argument(help="A class document; else the one in force.")] = None
) -> None:
    """Check a class document against this account, its region and the stack's settings."""
    document = _document(call.stack, file)
    found = classes.validate(call.stack, document)
    wrong = any(finding.severity == "error" for finding in found)
    if call.output.as_json:
        call.output.json(found)
    else:
        for finding in found:
            call.output.line(finding.words, finding.severity)
        if not wrong:
            call.output.line(f"{document.name}: every class can be launched here.", "ok")
    if wrong:
        raise typer.Exit(1)


@verb(classes_app, "diff", "agent-stack classes diff classes.json")
def diff_verb(call: Call, *, file: FileArgument) -> None:
    """Show what a class document changes in the one in force. Exit status 0 in both cases."""
    found = classes.differences(call.stack, _document(call.stack, file).text)
    if call.output.as_json:
        call.output.json(found)
        return
    for line in found or ["They mean the same."]:
        call.output.line(line, "ok" if line.startswith("+") else "error" if line.startswith("-") else "")


@verb(classes_app, "push", "agent-stack classes push classes.json")
def push_verb(call: Call, *, file: FileArgument) -> None:
    """Check a class document and write it into the stack's parameter. It is in force within a minute."""
    document = _document(call.stack, file)
    found = classes.validate(call.stack, document)
    if wrong := [finding for finding in found if finding.severity == "error"]:
        raise CliError(
            f"not written, because of {len(wrong)} problems; the first: {wrong[0].words}",
            next=call.stack.agent_stack("classes", "validate", str(file)),
        )
    done = classes.push(call.stack, document)
    if call.output.as_json:
        call.output.json(done)
        return
    for finding in found:
        call.output.line(finding.words, finding.severity)
    if done.version is None:
        call.output.line(f"{done.parameter} holds this document already.")
    else:
        call.output.line(
            f"{done.parameter} is now version {done.version} ({done.tier}). In force within a minute.", "ok"
        )


@verb(
    classes_app, "explain", "agent-stack classes explain class=large",
    "agent-stack classes explain --queue linux class=large gpu=a100",
)  # fmt: skip
def explain_verb(
    call: Call,
    *,
    rules: Annotated[list[str] | None, typer.Argument(help="A job's agent query rules, such as class=large.")] = None,
    queue: Annotated[str | None, typer.Option("--queue", help="Where the job waits; else the first queue.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="A class document; else the one in force.")] = None,
) -> None:
    """Say which class a job with these agent query rules gets, or why none fits."""
    book = classes.book_of(call.stack, _document(call.stack, file))
    found = classes.explain(book, rules or [], QueueKey(queue or call.stack.queues[0]))
    if call.output.as_json:
        call.output.json(found)
    elif found.fits:
        call.output.line(
            f"class {found.vm_class}: {', '.join(found.instance_types)}, {found.capacity_type}, {found.image}"
        )
    else:
        call.output.line(found.reason, "warning")
    if not found.fits:
        raise typer.Exit(1)
