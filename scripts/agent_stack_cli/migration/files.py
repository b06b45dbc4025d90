"""The files of a migration: parameter file, class document and report. None is replaced without a word."""

import json
from pathlib import Path

from agent_stack_cli.errors import CliError, is_there
from agent_stack_cli.migration.next_steps import NextSteps
from agent_stack_cli.migration.plan import Migration
from agent_stack_cli.migration.report import markdown

CLASSES, REPORT = "classes.json", "migration.md"


def names(migration: Migration, directory: Path) -> tuple[Path, Path, Path]:
    """Where parameter file, class document and report go."""
    return directory / f"{migration.parameters['StackKey']}.parameters", directory / CLASSES, directory / REPORT


def texts(migration: Migration, directory: Path, steps: NextSteps) -> dict[Path, str]:
    """Every file and what it holds."""
    parameters, classes, report = names(migration, directory)
    return {
        parameters: parameter_file(migration),
        classes: json.dumps(migration.document, indent=2) + "\n",
        report: markdown(migration, steps),
    }


def parameter_file(migration: Migration) -> str:
    """The parameters as scripts/deploy reads them."""
    head = f"# Written by agent-stack migrate{f' from {migration.stack}' if migration.stack else ''}. See {REPORT}.\n"
    return head + "".join(f"{name}={value}\n" for name, value in migration.parameters.items())


def write(migration: Migration, directory: Path, steps: NextSteps, *, force: bool) -> tuple[Path, ...]:
    """Write all files, or none where one is there already.

    Raises:
        CliError: a file is there, or cannot be written.
    """
    wanted = texts(migration, directory, steps)
    if there := [str(path) for path in wanted if is_there(path) and not force]:
        raise CliError(
            f"{', '.join(there)} {'is' if len(there) == 1 else 'are'} there already, and nothing was written",
            next="name another directory (--output), or replace it: --force",
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, text in wanted.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CliError(f"the files cannot be written: {error}", next="name another directory: --output") from None
    return tuple(wanted)
