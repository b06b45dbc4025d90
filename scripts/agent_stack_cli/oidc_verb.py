"""The verb `oidc` and its help."""

from typing import Annotated

import typer

from agent_stack_cli import oidc
from agent_stack_cli.verbs import Call, verb


def add(app: typer.Typer) -> None:
    """Make it a verb of the program."""

    @verb(app, "oidc", "agent-stack oidc", "agent-stack oidc trust > trust.json", "agent-stack oidc permissions")
    def oidc_verb(
        call: Call,
        *,
        what: Annotated[
            oidc.What, typer.Argument(help="What to print; the last three for a role of your own.")
        ] = "status",
    ) -> None:
        """Say whether jobs have AWS access that Buildkite signs, or print provider, trust and permission policies."""
        oidc.show(call.stack, what, call.output)
