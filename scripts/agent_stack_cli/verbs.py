"""What every verb has in common: its options, the stack that they name, and how a failure is shown."""

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from agent_stack_cli.commands import Commands, options_of
from agent_stack_cli.endings import say_why
from agent_stack_cli.errors import PROGRAM, CliError, translated
from agent_stack_cli.output import Output
from agent_stack_cli.session import Session
from agent_stack_cli.stacks import Stack, find

NAME = "agent-stack"
"""What the examples call this program."""

StackOption = Annotated[
    str | None,
    typer.Option("--stack", "-s", envvar="AGENT_STACK", help="The CloudFormation stack; else the only one here."),
]
RegionOption = Annotated[str | None, typer.Option("--region", help="Where it is; else as the AWS CLI finds it.")]
ProfileOption = Annotated[str | None, typer.Option("--profile", help="The AWS profile; else as the AWS CLI finds it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]

COMMON = tuple(
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
    for name, default, kind in (
        ("stack", None, StackOption),
        ("region", None, RegionOption),
        ("profile", None, ProfileOption),
        ("as_json", False, JsonOption),
    )
)


class Verbs(TyperGroup):
    """Shows every expected failure as one line and the command that helps next."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  (the vendored context; whatever a verb returns)
        """See `click.Group`."""
        try:
            return super().invoke(ctx)
        except CliError as error:
            say_why("agent-stack", error)
            raise typer.Exit(1) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `| head` has seen enough
            raise typer.Exit(0) from None


@dataclass(frozen=True, kw_only=True)
class Call:
    """What the options of every verb give. Session and stack are looked up when a verb asks for them.

    Attributes:
        opens: makes the session; a verb that reads files only needs neither credentials nor a region.
        named: the stack that the operator names; None for the only one.
        commands: for the account and region that the operator names; known without a session.
    """

    opens: Callable[[], Session]
    output: Output
    named: str | None = None
    commands: Commands = field(default_factory=Commands)

    @cached_property
    def session(self) -> Session:
        """The operator's AWS session.

        Raises:
            CliError: there is no region.
        """
        return self.opens()

    @cached_property
    def stack(self) -> Stack:
        """The stack that the options name.

        Raises:
            CliError: see `find`.
        """
        return find(self.session, self.named)

    def again(self) -> "Call":
        """The same call, which remembers nothing: settings, credentials and clients are read again."""
        return replace(self, opens=self.session.again, named=self.stack.name)


def verb(
    group: typer.Typer, name: str, *examples: str, of_stack: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes a verb of a function: its own options come first, then those that every verb takes.

    Args:
        examples: shown at the end of its help.
        of_stack: whether it takes --stack.
    """
    common = COMMON if of_stack else COMMON[1:]

    def made(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function).parameters.values())[1:]

        def called(
            *,
            region: str | None,
            profile: str | None,
            as_json: bool,
            stack: str | None = None,
            **options: Any,  # noqa: ANN401  (as the verb declares them)
        ) -> None:
            named = ("--stack", stack) if stack else ()
            with translated(*named, *options_of(region, profile)):
                opens = partial(Session, region=region, profile=profile)
                commands = Commands(region=region, profile=profile)
                call = Call(opens=opens, output=Output(as_json=as_json), named=stack, commands=commands)
                function(call, **options)

        called.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]  # typer reads it
        called.__annotations__ = {}
        called.__name__, called.__doc__ = function.__name__, function.__doc__
        epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples).replace(NAME, PROGRAM)
        group.command(name, epilog=epilog)(called)
        return function

    return made
