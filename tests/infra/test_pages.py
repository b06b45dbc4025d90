"""Pages that are written from the code: whole, and readable."""

from collections import Counter
from enum import Enum, StrEnum
from itertools import product

import pytest

from agent_stack.domain.notices import NoticeKind
from infra import decisions, notifications
from infra.decision_rows import Cell, rows


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"
    GREEN = "green"


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


VALUES: list[tuple[Enum, ...]] = [tuple(Colour), tuple(Size)]


def said(colour: Colour, size: Size) -> str:
    return "stop" if colour is Colour.RED else f"go {size}"


DECIDED: dict[Cell, str] = {(colour, size): said(colour, size) for colour, size in product(Colour, Size)}


def test_what_decides_alike_is_one_row() -> None:
    assert rows(VALUES, DECIDED, {}, "") == [
        ([[Colour.RED], [Size.SMALL, Size.LARGE]], "stop"),
        ([[Colour.BLUE, Colour.GREEN], [Size.SMALL]], "go small"),
        ([[Colour.BLUE, Colour.GREEN], [Size.LARGE]], "go large"),
    ]


def test_what_cannot_be_stands_in_nobodys_way() -> None:
    known = {cell: text for cell, text in DECIDED.items() if cell != (Colour.GREEN, Size.LARGE)}
    assert len(rows(VALUES, known, {}, "")) == 3


def test_columns_that_say_what_is_said_elsewhere_are_folded() -> None:
    sizes: dict[Cell, str] = {(size,): f"go {size}" for size in Size}
    assert rows(VALUES, DECIDED, sizes, "go (below)")[1] == (
        [[Colour.BLUE, Colour.GREEN], [Size.SMALL, Size.LARGE]],
        "go (below)",
    )


@pytest.mark.parametrize("section", decisions.SECTIONS, ids=lambda section: section.title)
def test_each_table_says_every_combination_once_and_as_it_is_decided(section: decisions.Section) -> None:
    values = list(section.columns.values())
    decided = decisions.decided(section)
    covered: Counter[Cell] = Counter()
    for row, text in rows(values, decided, decisions.TRIED_AGAIN, decisions.LEASE_RETRY):
        for cell in product(*row):
            if cell in decided:
                covered[cell] += 1
                meant = decisions.TRIED_AGAIN[cell[-2:]] if text == decisions.LEASE_RETRY else text
                assert decided[cell] == meant
    assert covered == Counter(decided.keys())


def test_a_reader_finds_every_notice_and_no_page_without_end() -> None:
    page = notifications.page()
    assert {example.notice.kind for example in notifications.examples()} == set(NoticeKind)
    assert all(example.notice.text.replace("|", "\\|") in page for example in notifications.examples())
    assert len(decisions.page().splitlines()) < 200
