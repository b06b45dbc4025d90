"""`agent-stack migrate`."""

from pathlib import Path

from agent_stack_cli.errors import CliError, read_standard_input, read_text
from agent_stack_cli.migration import files, report
from agent_stack_cli.migration.next_steps import next_steps
from agent_stack_cli.migration.plan import migrate
from agent_stack_cli.migration.source import USE_A_FILE, Source, of_stack, of_text
from agent_stack_cli.verbs import Call

STANDARD_INPUT = Path("-")


def run(
    call: Call, *, file: Path | None, from_stack: str | None, directory: Path, key: str | None, force: bool
) -> None:
    """Read one source, write the files, and say what became of each value.

    Raises:
        CliError: the source is none, or a file is there already.
    """
    found = migrate(_source(call, file, from_stack), key=key)
    # A file needs no AWS; the live stack was read in a region that an `aws` command may not find by itself.
    commands = call.session.commands if from_stack is not None else call.commands
    parameters, classes, _ = files.names(found, directory)
    steps = next_steps(found, parameters, classes, commands)
    report.show(found, call.output, files.write(found, directory, steps, force=force), steps)


def _source(call: Call, file: Path | None, from_stack: str | None) -> Source:
    if from_stack is not None and file is None:
        return of_stack(call.session, from_stack)
    if file is None or from_stack is not None:
        raise CliError("name one source: a file, or --from-stack NAME", next=USE_A_FILE)
    if file == STANDARD_INPUT:
        return of_text(read_standard_input(next=USE_A_FILE), "the standard input")
    return of_text(read_text(file, next=USE_A_FILE), str(file))
