"""The dashboard's picture: its own widgets, with what the functions wrote."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator

from tests.simulator.watching.alarms import rings
from tests.simulator.watching.metrics import MetricStore, identity
from tests.simulator.watching.template import Rendered

COLUMNS = 24
"""Of the dashboard's grid."""
WIDTH, DPI = 11.5, 144
"""Inches: at a README's 830 pixels, a letter of 9 points is 9 pixels high."""
PLOT, TITLE, BELOW, LEFT, RIGHT = 1.35, 0.4, 0.5, 0.62, 0.52
"""Inches of a widget: its plot; above it, below it (the hours, and a gap to the next row), beside it."""
LEGEND_POINTS, LEGEND_LINE, HANDLE = 8.5, 0.172, 0.42
"""A legend's letters, and in inches: one line of it, and what stands beside a label."""
ALARM_COLUMNS, ALARM_HEIGHT = 4, 0.36
WIDE = 3.5
"""Inches of a widget from which there is room for each half hour."""
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#17becf", "#e377c2", "#7f7f7f", "#bcbd22",
           "#0b5345", "#5b2c6f")  # fmt: skip
CALM, RINGING, INK, FAINT, PAPER = "#2e8b57", "#c0392b", "#1d2733", "#6b7785", "#f4f6f8"
AWS_OWN = "AWS's own metrics,\nwhich the simulation has not"


class DashboardPicture:
    """Draws each widget where the dashboard has it, and each row as high as its longest legend needs."""

    def __init__(self, rendered: Rendered, store: MetricStore, *, start: datetime, end: datetime) -> None:
        self._rendered = rendered
        self._store = store
        self._start, self._end = start, end

    def save(self, path: Path) -> None:
        """Write the picture."""
        self.figure().savefig(path, dpi=DPI, metadata={"Software": None}, facecolor=PAPER)

    def figure(self) -> Figure:
        """The picture, before it is written.

        Raises:
            ValueError: the dashboard has a kind of widget that is not drawn here.
        """
        rows = [list(row) for _, row in groupby(self._rendered.widgets, key=lambda widget: widget["y"])]
        heights = [max(_inches(widget) for widget in row) for row in rows]
        whole = sum(heights)
        figure = Figure(figsize=(WIDTH, whole), facecolor=PAPER)
        below = whole
        for row, height in zip(rows, heights, strict=True):
            below -= height
            for widget in row:
                left, width = widget["x"] / COLUMNS * WIDTH, widget["width"] / COLUMNS * WIDTH
                match widget["type"]:
                    case "text":
                        _say(figure, widget["properties"]["markdown"], (below + height) / whole, 1 / whole)
                    case "alarm":
                        box = (0.1 / WIDTH, below / whole, 1 - 0.2 / WIDTH, height / whole)
                        self._alarms(figure.add_axes(box), widget["properties"])
                    case "metric":
                        box = (left + LEFT, below + height - TITLE - PLOT, width - LEFT - RIGHT, PLOT)
                        inset = (box[0] / WIDTH, box[1] / whole, box[2] / WIDTH, box[3] / whole)
                        self._graph(figure.add_axes(inset), widget)
                    case unknown:
                        raise ValueError(f"no such widget here: {unknown}")
        return figure

    def _alarms(self, axes: Axes, properties: Mapping[str, Any]) -> None:
        rows = _alarm_rows(properties)
        axes.set_axis_off()
        axes.set_xlim(0, ALARM_COLUMNS)
        axes.set_ylim(-rows, 1)
        said = "Alarms, and for how many of these minutes each was in ALARM"
        axes.text(0.02, 0.4, said, color=INK, fontsize=10, va="center")
        alarms = self._rendered.of_type("CloudWatch::Alarm")
        for number, arn in enumerate(properties["alarms"]):
            alarm = alarms[arn.rpartition(":")[2].removesuffix(".Arn")]
            column, row = number % ALARM_COLUMNS, number // ALARM_COLUMNS
            seen = "MetricName" in alarm and alarm["Namespace"] == "AgentStackEc2"
            minutes = len(rings(alarm, self._store, start=self._start, end=self._end)) if seen else 0
            minutes *= int(alarm["Period"]) // 60 if seen else 0
            colour = FAINT if not seen else RINGING if minutes else CALM
            axes.add_patch(Rectangle((column + 0.02, -row - 0.93), 0.96, 0.86, facecolor=colour, alpha=0.92))
            name = alarm["AlarmName"].removeprefix("stack-")
            state = f"{minutes} min" if minutes else "OK" if seen else "not simulated"
            axes.text(column + 0.06, -row - 0.5, name, color="white", fontsize=9, va="center", weight="bold")
            axes.text(column + 0.94, -row - 0.5, state, color="white", fontsize=9, va="center", ha="right")

    def _graph(self, axes: Axes, widget: Mapping[str, Any]) -> None:
        properties = widget["properties"]
        axes.set_facecolor("white")
        axes.set_title(properties["title"], loc="left", fontsize=10, color=INK, pad=5)
        shown = _simulated(properties)
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
        self._dress(axes, right, properties["yAxis"], every=30 if _width(widget) > WIDE else 60)
        if drawn:
            axes.legend(
                *zip(*drawn, strict=True),
                loc="upper left",
                bbox_to_anchor=(0, -0.28 / PLOT),
                ncol=_legend(widget)[0],
                fontsize=LEGEND_POINTS,
                frameon=False,
                labelcolor=INK,
                handlelength=1.2,
                columnspacing=1.2,
                borderaxespad=0,
                borderpad=0,
            )

    def _dress(self, axes: Axes, right: Axes | None, sides: Mapping[str, Any], *, every: int) -> None:
        whole = (self._end - self._start).total_seconds() / 60
        ticks = list(range(0, int(whole) + 1, every))
        axes.set_xlim(0, whole)
        axes.set_xticks(ticks, [f"{9 + minute // 60}:{minute % 60:02d}" for minute in ticks])
        for each, side in ((axes, "left"), (right, "right")):
            if each is None:
                continue
            lowest, highest = each.get_ylim()
            each.set_ylim(0, max(highest, 1.0) if highest > lowest else 1.0)
            each.yaxis.set_major_locator(MaxNLocator(nbins=4))
            each.tick_params(labelsize=8, colors=FAINT, length=2)
            each.set_ylabel(sides.get(side, {}).get("label", ""), fontsize=8, color=FAINT, labelpad=2)
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


def _say(figure: Figure, markdown: str, top: float, inch: float) -> None:
    heading, _, rest = markdown.partition("\n")
    size = 16 if heading.startswith("# ") else 13
    figure.text(
        0.1 / WIDTH, top - 0.3 * inch, heading.lstrip("# "), fontsize=size, color=INK, weight="bold", va="center"
    )
    for number, line in enumerate(_wrapped(rest)):
        figure.text(0.1 / WIDTH, top - (0.58 + 0.19 * number) * inch, line, fontsize=9, color=FAINT, va="center")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, width=150)


def _inches(widget: Mapping[str, Any]) -> float:
    """How high it is drawn."""
    if widget["type"] == "text":
        return 0.56 + 0.19 * len(_wrapped(widget["properties"]["markdown"].partition("\n")[2]))
    if widget["type"] == "alarm":
        return (1 + _alarm_rows(widget["properties"])) * ALARM_HEIGHT
    return TITLE + PLOT + BELOW + _legend(widget)[1] * LEGEND_LINE


def _alarm_rows(properties: Mapping[str, Any]) -> int:
    return math.ceil(len(properties["alarms"]) / ALARM_COLUMNS)


def _width(widget: Mapping[str, Any]) -> float:
    return float(widget["width"]) / COLUMNS * WIDTH


def _legend(widget: Mapping[str, Any]) -> tuple[int, int]:
    """How many columns of labels fit below its plot, and how many lines that makes."""
    labels = [label for label, *_ in _simulated(widget["properties"])]
    if not labels:
        return 1, 0
    font = FontProperties(size=LEGEND_POINTS)
    widest = max(TextPath((0, 0), label, prop=font).get_extents().width for label in labels) / 72
    columns = max(1, min(len(labels), int((_width(widget) - LEFT) / (widest + HANDLE))))
    return columns, math.ceil(len(labels) / columns)


def _simulated(properties: Mapping[str, Any]) -> list[tuple[str, Sequence[Any], Mapping[str, Any], bool]]:
    """What it shows of this project's own metrics."""
    return [one for one in _shown(properties["metrics"]) if one[1][0].startswith("AgentStack")]


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
