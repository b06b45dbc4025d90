"""Axes that look alike: matplotlib draws on them and gives SVG text, the same bytes for the same drawing."""

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

HOUR = 3600.0
INK, FAINT, GRID = "#1d2733", "#6b7785", "#dfe4ea"
WIDTH, NARROW = 10.4, 4.7
"""Inches. Text keeps its size on a phone, where the wide pictures would shrink it to a third."""

LABEL = 22
"""Characters of a label before it goes on in the next line."""
MINUTES_OF_A_STEP = (1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720, 1440)
MOST_STEPS = 8
STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "svg.hashsalt": "agent-stack",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "text.color": INK,
}


@contextmanager
def drawing(
    rows: int, columns: int, height: float, *, narrow: bool, share_y: bool = True
) -> Iterator[tuple[list[Axes], list[str]]]:
    """Axes to draw on; the second list gets the SVG when the drawing is done.

    Args:
        narrow: for a phone: what would stand side by side stands one under the other.
        share_y: whether those of one row have one scale.
    """
    done: list[str] = []
    with mpl.rc_context(STYLE):
        size = (NARROW, height * columns) if narrow else (WIDTH, height)
        figure = Figure(figsize=size, layout="constrained")
        shape = (rows * columns, 1) if narrow else (rows, columns)
        axes = list(figure.subplots(*shape, squeeze=False).flat)
        for number, one in enumerate(axes):
            first = axes[number - number % columns]
            if share_y and one is not first:
                one.sharey(first)
                one.tick_params(labelleft=narrow)
            one.spines[["top", "right"]].set_visible(False)
            one.grid(axis="y", color=GRID, linewidth=0.7)
            one.set_axisbelow(True)
        yield axes, done
        text = io.StringIO()
        with warnings.catch_warnings():
            # A letter that matplotlib cannot measure is drawn by the reader's own fonts.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    # Fonts that a reader's machine has, with the same widths as the one that matplotlib measured.
    svg = svg.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    done.append(re.sub(r'<svg ([^>]*?)height="[^"]*"([^>]*?)width="[^"]*"', r"<svg \1\2", svg, count=1))


Place = Literal["outside lower left", "outside lower right", "outside upper left"]


def legend(axes: Axes, columns: int, place: Place = "outside lower left") -> None:
    """The legend of these axes, outside of all of them, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    axes.figure.legend(handles, labels, loc=place, ncols=columns, frameon=False, fontsize=8.5)


def label(*words: str) -> str:
    """Words of a label, in lines that leave room for what it labels."""
    return "\n".join(textwrap.fill(word, LABEL) for word in words if word)


def lie_down(axes: Axes) -> None:
    """Lines along the values of horizontal bars."""
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=GRID, linewidth=0.7)


def hours_along(axes: Axes, seconds: float) -> None:
    """Hours and minutes along the bottom, at round moments. To be called when all axes that share a scale are drawn."""
    hours = seconds / HOUR
    axes.set_xlim(0, hours)
    axes.set_ylim(bottom=0)
    step = next((step for step in MINUTES_OF_A_STEP if hours * 60 / step <= MOST_STEPS), hours * 60 / MOST_STEPS)
    axes.xaxis.set_major_locator(MultipleLocator(step / 60))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=axes.get_ylim()[1] > 5))  # noqa: PLR2004  (few are few)
    axes.xaxis.set_major_formatter(_clock)


def _as_clock(hours: float, _place: object) -> str:
    minutes = round(hours * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


_clock: Callable[..., str] | FuncFormatter = FuncFormatter(_as_clock)
