"""How far a run of many worlds is, and how fast: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.simulator.simulation.scenario import Report

LINE_EVERY = 30.0
"""Seconds between two lines where no bar can be drawn."""


def shown(
    reports: Iterable[Report], total: int, *, out: TextIO = sys.stderr, now: Callable[[], float] = time.monotonic
) -> Iterator[Report]:
    """The same reports, while it shows how many there are of all, how many a second, and how many are broken."""
    began, told, broken = now(), now(), 0
    console = Console(file=out)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total, said="")
        for number, report in enumerate(reports, start=1):
            broken += report.broken is not None
            said = f"{number / max(now() - began, 1e-9):.1f} worlds a second, {broken} broken"
            bar.update(task, completed=number, said=said)
            if not console.is_terminal and now() - told >= LINE_EVERY:
                told = now()
                out.write(f"{number} of {total} worlds, {said}\n")
                out.flush()
            yield report
