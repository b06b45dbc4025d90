"""The pictures of a simulated day, on a desk and on a phone: every word lies within its picture."""

from dataclasses import replace
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from agent_stack_cli.simulation.analysis import Day
from agent_stack_cli.simulation.page import DRAWS
from tests.cli.test_simulate import a_day, an_outcome

LONG = "MaxInstances=400, standby_classes, MaxVcpus=800"
SLACK = 2.0
"""Pixels of a letter's own margin."""


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Words of the drawn pictures that leave their picture. Figures along an axis may: those outside are not drawn."""
    found: list[str] = []
    saves = Figure.savefig

    def save(figure: Figure, *given: Any, **more: Any) -> None:  # noqa: ANN401  (matplotlib's)
        saves(figure, *given, **more)
        figure.draw_without_rendering()
        whole = figure.bbox
        for text in figure.findobj(Text):
            assert isinstance(text, Text)
            box = text.get_window_extent()
            if any(letter.isalpha() for letter in text.get_text()) and (box.x0 < -SLACK or box.x1 > whole.x1 + SLACK):
                found.append(text.get_text())

    monkeypatch.setattr(Figure, "savefig", save)
    return found


def named(name: str) -> Day:
    """A day in which a job waited long, and every budget was used."""
    (job,) = an_outcome()["jobs"]
    requests = [
        {"name": f"Buildkite issue acquisition tokens {n}", "total": 1, "busiest": 1, "budget": "50",
         "used_percent": 100.0, "refused": 1234} for n in range(3)
    ]  # fmt: skip
    day = a_day(jobs=[job, {**job, "started": 4000.0, "ended": 5000.0}], requests=requests)
    return replace(day, deployment=replace(day.deployment, name=name))


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("names", [("defaults",), ("defaults", LONG)])
def test_every_word_of_a_picture_lies_within_it(cut: list[str], names: tuple[str, ...], *, narrow: bool) -> None:
    days = [named(name) for name in names]
    for draw in DRAWS.values():
        draw(days, narrow=narrow)
    assert cut == []


def test_a_name_is_a_name_and_no_formula() -> None:
    days = [named("defaults"), named("a$\\foo$, b")]
    for draw in DRAWS.values():
        assert "$" in (text := draw(days)) or "foo" not in text


@pytest.mark.filterwarnings("error")
def test_a_name_in_any_script_is_drawn_without_a_word_on_the_terminal() -> None:
    days = [named("defaults"), named("日本 🚀")]
    for draw in DRAWS.values():
        draw(days)
    assert "日本 🚀" in DRAWS["budgets"](days)


def test_a_phone_gets_pictures_of_its_own() -> None:
    day = named("defaults")
    for draw in DRAWS.values():
        assert draw([day], narrow=True) != draw([day])
