"""The verb `simulate` and its options. What it needs besides is imported when it is called."""

from pathlib import Path
from typing import Annotated

import typer

from agent_stack_cli.errors import CliError
from agent_stack_cli.verbs import Call, verb

EXTRA = frozenset({"cryptography", "matplotlib", "moto", "werkzeug"})
"""Packages of pyproject.toml's extra `simulate`."""

SHAPES = "steady, burst, morning-ramp, fan-out, cancel-storm"


def add_to(app: typer.Typer) -> None:
    """Make the verb known."""
    verb(
        app, "simulate", "agent-stack simulate --load burst", "agent-stack simulate ci.parameters --load morning-ramp",
        "agent-stack simulate ci.parameters --against MaxInstances=400 --load fan-out",
        "agent-stack simulate --stack ci --load history --boots history --against-classes hot.json",
    )(simulate_verb)  # fmt: skip


def simulate_verb(
    call: Call,
    *,
    file: Annotated[
        Path | None, typer.Argument(help="A file of Name=value lines; else --stack, else the template's defaults.")
    ] = None,
    classes: Annotated[Path | None, typer.Option("--classes", help="A class document; else the one in force.")] = None,
    given: Annotated[list[str] | None, typer.Option("--set", help="Name=value, over the parameters.")] = None,
    against: Annotated[
        list[str] | None, typer.Option("--against", help="Name=value or a file: a second set, beside the first.")
    ] = None,
    against_classes: Annotated[
        Path | None, typer.Option("--against-classes", help="The class document of the second set.")
    ] = None,
    load: Annotated[str, typer.Option("--load", help=f"{SHAPES}, history, or a CSV of jobs.")] = "steady",
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, max=200_000, help="How many, of a named load.")] = None,
    hours: Annotated[float | None, typer.Option("--hours", min=0.05, max=168, help="How long jobs come.")] = None,
    boots: Annotated[
        str, typer.Option("--boots", help="baked, stock, history, or a file with one number of seconds a line.")
    ] = "stock",
    price: Annotated[list[str] | None, typer.Option("--price", help="TYPE=USD an hour, over the list.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same day.")] = 0,
    every_cycle: Annotated[
        bool, typer.Option("--every-cycle", help="Skip no idle cycle: slower, and the same report.")
    ] = False,
    report: Annotated[Path, typer.Option("--report", "-o", help="The HTML page to write.")] = Path("simulated.html"),
    pictures: Annotated[
        Path | None, typer.Option("--pictures", help="A directory for the pictures, as SVG files.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Try parameters on a day of jobs, with the functions' own code on a virtual clock, and write a report.

    Changes nothing. Asks AWS only with --stack, or for history.
    """
    try:
        from agent_stack_cli.simulation.verb import Options, run  # noqa: PLC0415  (it takes what only this verb needs)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in EXTRA:
            raise
        raise CliError(
            f"simulate needs the package {error.name}, which comes with an extra of its own",
            next="uv tool install 'agent-stack-ec2[cli,simulate] @ git+<this repository>'",
        ) from None

    options = Options(
        file=file, classes=classes, given=given or (), against=against or (), against_classes=against_classes,
        load=load, jobs=jobs, hours=hours, boots=boots, price=price or (), seed=seed, every_cycle=every_cycle,
        report=report, pictures=pictures, force=force,
    )  # fmt: skip
    run(call, options)
