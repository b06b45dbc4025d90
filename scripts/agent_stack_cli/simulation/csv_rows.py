"""The rows of a CSV, each with its line. What is wrong with one row takes no other row with it."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

MOST_LINES = 100
"""Of one row: a text of more lines is a quote that somebody forgot to close."""

OPEN = "a quote is not closed in it; close it, or write one job a line"


class Row(NamedTuple):
    """A row's cells, or what is wrong with it.

    Attributes:
        line: its first line.
        lines: how many it takes.
    """

    line: int
    cells: Sequence[str]
    lines: int = 1
    problem: str = ""


def read_rows(text: str) -> Iterator[Row]:
    """All rows but empty ones."""
    lines = list(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    at = 0
    while at < len(lines):
        row = _row(lines, at)
        at += row.lines
        if row.problem or "".join(row.cells).strip():
            yield row


def _row(lines: Sequence[str], at: int) -> Row:
    try:
        cells = next(csv.reader([_ended(lines[at])], skipinitialspace=True))
    except csv.Error as error:
        return Row(at + 1, (), problem=f"it is no row of a CSV ({error}); write one job a line")
    if not _is_open(cells):
        return Row(at + 1, cells)
    more = csv.reader(map(_ended, lines[at : at + MOST_LINES]), skipinitialspace=True, strict=True)
    try:
        cells = next(more)
    except csv.Error:
        return Row(at + 1, (), problem=OPEN)
    return Row(at + 1, cells, lines=more.line_num)


def _ended(line: str) -> str:
    return line.rstrip("\r\n") + "\n"


def _is_open(cells: Sequence[str]) -> bool:
    """Whether a quote of a line goes on after it: only then its end is part of a cell."""
    return bool(cells) and cells[-1].endswith("\n")
