"""Pictures: the dashboard's own widgets with what the functions wrote, and one burst's jobs on their way to agents."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from agent_stack.domain.runs import Run
from agent_stack.domain.states import Moment
from tests.simulator.watching.alarms import rings
from tests.simulator.watching.metrics import MetricStore, identity
from tests.simulator.watching.template import Rendered

UNIT_INCHES = 0.44  # of the dashboard's grid
COLUMNS = 24
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#17becf", "#e377c2", "#7f7f7f", "#bcbd22",
           "#0b5345", "#5b2c6f")  # fmt: skip
CALM, RINGING, INK, FAINT, PAPER = "#2e8b57", "#c0392b", "#1d2733", "#6b7785", "#f4f6f8"
STEPS = (
    (Moment.RESERVED, "waits to be reserved", "#9aa7b4"),
    (Moment.LAUNCHED, "waits for a VM to be asked for", "#f2a65a"),
    (Moment.VM_RUNNING, "VM starts", "#e4572e"),
    (Moment.AGENT_STARTED, "VM boots, agent starts", "#4f86c6"),
    (Moment.JOB_RUNNING, "agent takes the job", "#2e5fa3"),
)
AWS_OWN = "AWS's own metrics,\nwhich the simulation has not"


class DashboardPicture:
    """Draws each widget where the dashboard has it."""

    def __init__(self, rendered: Rendered, store: MetricStore, *, start: datetime, end: datetime) -> None:
        self._rendered = rendered
        self._store = store
        self._start, self._end = start, end

    def save(self, path: Path) -> None:
        """Write the picture."""
        widgets = self._rendered.widgets
        rows = max(widget["y"] + widget["height"] for widget in widgets)
        figure = Figure(figsize=(COLUMNS * UNIT_INCHES * 1.7, rows * UNIT_INCHES), facecolor=PAPER)
        for widget in widgets:
            left, top = widget["x"] / COLUMNS, 1 - widget["y"] / rows
            width, height = widget["width"] / COLUMNS, widget["height"] / rows
            match widget["type"]:
                case "text":
                    _say(figure, widget["properties"]["markdown"], top, 1 / rows)
                case "alarm":
                    self._alarms(figure.add_axes((0.01, top - height, 0.98, height * 0.94)), widget["properties"])
                case "metric":
                    inset = (left + 0.036, top - height + 1.25 / rows, width - 0.066, height - 2.25 / rows)
                    self._graph(figure.add_axes(inset), widget["properties"])
                case unknown:
                    raise ValueError(f"no such widget here: {unknown}")
        figure.savefig(path, dpi=80, metadata={"Software": None}, facecolor=PAPER)

    def _alarms(self, axes: Axes, properties: Mapping[str, Any]) -> None:
        axes.set_axis_off()
        axes.set_xlim(0, 6)
        axes.set_ylim(0, 4)
        axes.text(
            0.02, 3.72, "Alarms, and for how many of these minutes they rang", color=INK, fontsize=10, va="center"
        )
        alarms = self._rendered.of_type("CloudWatch::Alarm")
        for number, arn in enumerate(properties["alarms"]):
            alarm = alarms[arn.rpartition(":")[2].removesuffix(".Arn")]
            column, row = number % 6, number // 6
            seen = "MetricName" in alarm and alarm["Namespace"] == "AgentStackEc2"
            minutes = len(rings(alarm, self._store, start=self._start, end=self._end)) if seen else 0
            minutes *= int(alarm["Period"]) // 60 if seen else 0
            colour = FAINT if not seen else RINGING if minutes else CALM
            axes.add_patch(Rectangle((column + 0.02, 2.42 - row * 1.12), 0.96, 0.95, facecolor=colour, alpha=0.92))
            name = alarm["AlarmName"].removeprefix("stack-")
            state = f"{minutes} min" if minutes else "calm" if seen else "not simulated"
            at = 2.9 - row * 1.12
            axes.text(column + 0.06, at, name, color="white", fontsize=9, va="center", weight="bold")
            axes.text(column + 0.94, at, state, color="white", fontsize=8, va="center", ha="right")

    def _graph(self, axes: Axes, properties: Mapping[str, Any]) -> None:
        axes.set_facecolor("white")
        axes.set_title(properties["title"], loc="left", fontsize=10, color=INK, pad=5)
        shown = [one for one in _shown(properties["metrics"]) if one[1][0].startswith("AgentStack")]
        if not shown:
            axes.text(0.5, 0.5, AWS_OWN, ha="center", va="center", color=FAINT, fontsize=9, transform=axes.transAxes)
        right = None
        drawn: list[tuple[Any, str]] = []
        period = timedelta(seconds=properties["period"])
        stack: list[tuple[str, list[float]]] = []
        for number, (label, metric, options, filled) in enumerate(shown):
            minutes, values = self._points(metric, options["stat"], period, filled=filled)
            colour = COLOURS[number]
            if properties["stacked"]:
                stack.append((label, values))
                continue
            target = axes
            if options.get("yAxis") == "right":
                right = target = right or axes.twinx()
            (line,) = target.plot(minutes, values, color=colour, linewidth=1.4, solid_joinstyle="round")
            drawn.append((line, label))
        if stack:
            minutes = [number * period.total_seconds() / 60 for number in range(len(stack[0][1]))]
            areas = axes.stackplot(minutes, *(values for _, values in stack), colors=COLOURS, alpha=0.85, step="post")
            drawn += [(area, label) for area, (label, _) in zip(areas, stack, strict=True)]
        for line in properties.get("annotations", {}).get("horizontal", ()):
            axes.axhline(line["value"], color=RINGING, linewidth=1, linestyle="--")
        self._dress(axes, right, properties["yAxis"])
        if drawn:
            axes.legend(
                *zip(*drawn, strict=True),
                loc="upper left",
                bbox_to_anchor=(-0.02, -0.14),
                ncol=3,
                fontsize=7.5,
                frameon=False,
                labelcolor=INK,
                handlelength=1.2,
                columnspacing=1.2,
                borderaxespad=0,
            )

    def _dress(self, axes: Axes, right: Axes | None, sides: Mapping[str, Any]) -> None:
        whole = (self._end - self._start).total_seconds() / 60
        cycles = list(range(0, int(whole) + 1, 30))
        axes.set_xlim(0, whole)
        axes.set_xticks(cycles, [f"{9 + minute // 60}:{minute % 60:02d}" for minute in cycles])
        for each, side in ((axes, "left"), (right, "right")):
            if each is None:
                continue
            lowest, highest = each.get_ylim()
            each.set_ylim(0, max(highest, 1.0) if highest > lowest else 1.0)
            each.tick_params(labelsize=7.5, colors=FAINT, length=2)
            each.set_ylabel(sides.get(side, {}).get("label", ""), fontsize=7.5, color=FAINT, labelpad=2)
            for spine in each.spines.values():
                spine.set_color("#d5dbe1")
        axes.grid(axis="y", color="#e6eaee", linewidth=0.8)
        axes.set_axisbelow(True)

    def _points(
        self, metric: Sequence[Any], stat: str, period: timedelta, *, filled: bool
    ) -> tuple[list[float], list[float]]:
        points = self._store.series(identity(metric), stat=stat, period=period, start=self._start, end=self._end)
        known = dict(points)
        if filled:
            count = int((self._end - self._start) / period)
            every = [self._start + number * period for number in range(count)]
            known = {at: known.get(at, 0.0) for at in every}
        minutes = [(at - self._start).total_seconds() / 60 for at in known]
        return minutes, list(known.values())


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
            said = f"VM number {run.attempt}, for the one before failed to boot  "
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


def _say(figure: Figure, markdown: str, top: float, line: float) -> None:
    heading, _, rest = markdown.partition("\n")
    size = 17 if heading.startswith("# ") else 13
    figure.text(0.012, top - 0.75 * line, heading.lstrip("# "), fontsize=size, color=INK, weight="bold", va="center")
    figure.text(0.012, top - 1.55 * line, rest, fontsize=9.5, color=FAINT, va="center")


def _shown(metrics: Sequence[Sequence[Any]]) -> list[tuple[str, Sequence[Any], Mapping[str, Any], bool]]:
    """What a widget shows: label, metric, options, and whether what is missing counts as nothing."""
    hidden = {
        one[-1]["id"]: one for one in metrics if isinstance(one[-1], Mapping) and not one[-1].get("visible", True)
    }
    shown: list[tuple[str, Sequence[Any], Mapping[str, Any], bool]] = []
    for metric in metrics:
        options = metric[-1]
        if "expression" in options:
            of = hidden[options["expression"].removeprefix("FILL(").partition(",")[0]]
            shown.append((options["label"], of, {**of[-1], **options}, True))
        elif options.get("visible", True):
            shown.append((options["label"], metric, options, False))
    return shown
