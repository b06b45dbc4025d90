"""The dashboard's picture can be read: nothing of a widget covers another widget, and nothing is cut off."""

from datetime import timedelta
from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from tests.simulator.clock import EPOCH
from tests.simulator.watching.metrics import MetricStore
from tests.simulator.watching.pictures import DashboardPicture
from tests.simulator.watching.template import Rendered

TOUCHING = 1.0
"""Pixels that two boxes may share."""


def boxes(figure: Figure) -> list[Bbox]:
    """Of each widget, with its title, its numbers and its legend."""
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]  # matplotlib has no type for it
    figure.draw(renderer)
    found: dict[tuple[float, ...], list[Bbox]] = {}
    for axes in figure.axes:
        box = axes.get_tightbbox(renderer)
        assert box is not None
        place = tuple(round(part, 4) for part in axes.get_position().bounds)  # two axes of one widget share it
        found.setdefault(place, []).append(box)
    return [Bbox.union(parts) for parts in found.values()] + [text.get_window_extent(renderer) for text in figure.texts]


def test_nothing_in_the_picture_of_the_dashboard_covers_anything_else() -> None:
    rendered = Rendered(DailySpendAlarmUsd="20")
    picture = DashboardPicture(rendered, MetricStore(), start=EPOCH, end=EPOCH + timedelta(hours=3))
    figure = picture.figure()
    every = boxes(figure)
    assert len(every) > len(rendered.widgets)
    for box in every:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1, box
        assert box.y1 <= figure.bbox.y1
    for one, other in combinations(every, 2):
        shared = Bbox.intersection(one, other)
        assert shared is None or min(shared.width, shared.height) <= TOUCHING, (one, other)


def test_every_alarm_is_in_the_picture() -> None:
    rendered = Rendered(DailySpendAlarmUsd="20")
    picture = DashboardPicture(rendered, MetricStore(), start=EPOCH, end=EPOCH + timedelta(hours=3))
    tiles = picture.figure().axes[0]
    names = {text.get_text() for text in tiles.texts if tiles.get_ylim()[0] <= text.get_position()[1]}
    alarms = rendered.of_type("CloudWatch::Alarm").values()
    assert {alarm["AlarmName"].removeprefix("stack-") for alarm in alarms} <= names
