"""A picture of one burst: its jobs on their way to their agents."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from agent_stack.domain.runs import Run
from agent_stack.domain.states import Moment
from tests.simulator.watching.pictures import FAINT, INK

STEPS = (
    (Moment.RESERVED, "waits to be reserved", "#9aa7b4"),
    (Moment.LAUNCHED, "waits for a VM to be asked for", "#f2a65a"),
    (Moment.VM_RUNNING, "VM starts", "#e4572e"),
    (Moment.AGENT_STARTED, "VM boots, agent starts", "#4f86c6"),
    (Moment.JOB_RUNNING, "agent takes the job", "#2e5fa3"),
)


def draw_burst(runs: Sequence[Run], path: Path) -> None:
    """Bars from each job's scheduling to its agent, step by step; nothing is shown of what the job then did."""
    began = min(run.timeline[Moment.SCHEDULED] for run in runs)
    rows = sorted(runs, key=lambda run: run.timeline.get(Moment.JOB_RUNNING, run.timeline[Moment.ENDED]))
    figure = Figure(figsize=(12, 0.5 + 0.17 * len(rows)), facecolor="white")
    axes = figure.add_subplot()
    for row, run in enumerate(rows):
        before = (run.timeline[Moment.SCHEDULED] - began).total_seconds()
        for moment, _, colour in STEPS:
            if moment not in run.timeline:
                continue
            at = max(before, (run.timeline[moment] - began).total_seconds())
            axes.barh(row, at - before, left=before, color=colour, height=0.72)
            before = at
        if run.attempt > 1:
            said = f"VM number {run.attempt}, because the one before failed to boot  "
            axes.text(before, row - 0.8, said, fontsize=8, color=FAINT, ha="right", va="bottom")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks([])
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds since the build was pushed", fontsize=9, color=INK)
    waits = [
        (run.timeline[Moment.JOB_RUNNING] - began).total_seconds()
        for run in rows
        if run.timeline.get(Moment.JOB_RUNNING)
    ]
    half = f"half of them within {waits[len(waits) // 2]:.0f} s"
    title = f"{len(rows)} jobs at once, each from scheduled to its agent: {half}"
    axes.set_title(title, loc="left", fontsize=11, color=INK, pad=8)
    known = [(name, colour) for moment, name, colour in STEPS if any(moment in run.timeline for run in rows)]
    axes.legend(
        [Rectangle((0, 0), 1, 1, color=colour) for _, colour in known],
        [name for name, _ in known],
        loc="upper right",
        fontsize=9,
        frameon=False,
        labelcolor=INK,
    )
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8, colors=FAINT)
    axes.grid(axis="x", color="#e6eaee", linewidth=0.8)
    axes.set_axisbelow(True)
    figure.savefig(path, dpi=110, metadata={"Software": None}, bbox_inches="tight")
