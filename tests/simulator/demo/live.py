"""The live view of a terminal: every job with its time line and its VM, redrawn as things happen."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tests.simulator.demo.snapshot import Camera

BAR: Final = 34
REDRAWN_PER_SECOND: Final = 2
_PHASES: Final = {
    "waiting": ("·", "bright_black"), "starting": ("░", "yellow"), "booting": ("▒", "yellow"),
    "running": ("█", "cyan"), "ending": ("▏", "bright_black"),
}  # fmt: skip
_STYLES: Final = {
    "passed": "green", "failed": "bold red", "soft": "magenta", "retried": "yellow", "skipped": "bright_black",
    "cancelled": "bright_black", "held": "bright_black", "blocked": "bold yellow", "waiting": "", "starting": "yellow",
    "booting": "yellow", "running": "bold cyan",
}  # fmt: skip


@contextmanager
def live_view(camera: Camera) -> Iterator[None]:
    """Show it until the body ends. The last picture goes away, because the table at the end says more."""
    console = Console()
    with Live(
        get_renderable=lambda: draw(camera.state(), rows=max(4, console.height - 6)),
        console=console,
        refresh_per_second=REDRAWN_PER_SECOND,
        transient=True,
    ):
        yield


def draw(state: dict[str, Any], *, rows: int) -> RenderableType:
    """One picture, of at most that many rows: those that move first, then those that came last."""
    span = max(state["elapsed"], 1.0)
    table = Table(box=None, pad_edge=False, expand=True, show_header=False)
    table.add_column(ratio=3, no_wrap=True, overflow="ellipsis")
    table.add_column(width=BAR, no_wrap=True)
    table.add_column(ratio=2, no_wrap=True, overflow="ellipsis")
    table.add_column(width=20, no_wrap=True, overflow="ellipsis")
    shown = _most_telling(state["jobs"], rows)
    for job in shown:
        vm = job["vms"][-1] if job["vms"] else None
        label = (f"{job['group']}: " if job["group"] else "") + job["label"] + (" (retry)" if job["retry"] else "")
        table.add_row(
            Text(label), _bar(job, span), Text(job["said"], _STYLES[job["kind"]]), Text(vm["id"] if vm else "", "dim")
        )
    left = len(state["jobs"]) - len(shown)
    over = sum(job["kind"] in {"passed", "failed", "soft", "retried", "skipped", "cancelled"} for job in state["jobs"])
    up = sum(vm["state"] in {"pending", "running"} for vm in state["vms"])
    head = Text(
        f"{state['name']}  {state['outcome']}  {over} of {len(state['jobs'])} jobs over, {up} VMs up, "
        f"{state['elapsed']:.0f} s" + (f"  ({left} more jobs)" if left else ""),
        "bold",
    )
    return Group(head, table)


def _most_telling(jobs: list[dict[str, Any]], rows: int) -> list[dict[str, Any]]:
    """Those that fit, in their order."""
    first = {"running": 0, "booting": 1, "starting": 1, "blocked": 1, "failed": 2, "waiting": 3, "held": 5}
    ranked = sorted(range(len(jobs)), key=lambda n: (first.get(jobs[n]["kind"], 4), -n))
    return [jobs[n] for n in sorted(ranked[:rows])]


def _bar(job: dict[str, Any], span: float) -> Text:
    bar = Text()
    for place in range(BAR):
        at = (place + 0.5) / BAR * span
        name = next((phase["name"] for phase in job["phases"] if phase["from"] <= at < phase["to"]), None)
        mark, style = _PHASES[name] if name else (" ", "")
        bar.append(mark, style)
    return bar
