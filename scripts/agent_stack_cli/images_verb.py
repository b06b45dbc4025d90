"""The verb `images` and its help."""

from typing import Annotated

import typer

from agent_stack_cli import images, images_page
from agent_stack_cli.verbs import Call, verb


def add(app: typer.Typer) -> None:
    """Make it a verb of the program."""

    @verb(
        app,
        "images",
        "agent-stack images",
        "agent-stack images --json",
        "agent-stack images use ami-0123456789abcdef0",
        "agent-stack images keep ami-0123456789abcdef0",
    )
    def images_verb(
        call: Call,
        *,
        what: Annotated[
            images.What, typer.Argument(help="list; use: new VMs get IMAGE; keep: nothing removes IMAGE; unkeep.")
        ] = "list",
        image: Annotated[str, typer.Argument(help="The id of a baked image, such as an older one.")] = "",
    ) -> None:
        """List the images that BakeImage made, what they hold, and which one new VMs use, or let new VMs use one."""
        images_page.run(call.stack, what, image, call.output)
