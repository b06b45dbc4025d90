"""How a program that asks AWS ends: with its exit status, or with one line and the command that helps next."""

import sys
from collections.abc import Callable

from agent_stack_cli.errors import CliError, translated
from agent_stack_cli.output import clean


def say_why(program: str, error: CliError) -> None:
    """Why the program cannot go on, and what to run; no character of it moves a cursor."""
    sys.stderr.write(f"{program}: {clean(error.message)}\nNext: {clean(error.next)}\n")


def ended(program: str, work: Callable[[], int], *options: str) -> int:
    """The exit status of the work, which is 1 when AWS or this machine does not let it go on.

    Args:
        options: stack and region as they were given; the next command keeps them.
    """
    try:
        with translated(*options):
            return work()
    except CliError as error:
        say_why(program, error)
        return 1
