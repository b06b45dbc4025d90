"""The columns of a CSV of jobs: their names in its first line, and what stands in them in a row."""

from collections.abc import Iterator, Mapping, Sequence

from agent_stack_cli.errors import CliError
from agent_stack_cli.simulation.csv_rows import OPEN, Row

REQUIRED = ("at", "seconds")
COLUMNS: Mapping[str, str] = {
    "at": "when the job is scheduled, within 7 days: seconds from the start, 08:30:15, or 2026-11-25T08:30:00Z",
    "seconds": "how long its command runs",
    "queue": "its queue; the stack's first one unless given",
    "agents": "agent query rules with spaces between them, such as class=large os=linux",
    "priority": "a whole number; higher comes first",
    "pipeline": "any name; rows with the same name and moment are one build",
    "cancel_after": "seconds from its scheduling until a user cancels it",
    "count": "how many such jobs; 1 unless given",
}

HEADER = ",".join(COLUMNS)
SEPARATORS = ";\t|"
"""Of files that are called CSV, too."""


class RowError(ValueError):
    """What is wrong with a row, or with a column of it, and what to write instead."""

    def __init__(self, column: str, what: str) -> None:
        super().__init__(f"column {column}: {what}" if column else what)
        self.column = column


def header_of(row: Row | None, name: str) -> list[str]:
    """The names of the columns; empty ones at the end are none.

    Raises:
        CliError: one that is needed is missing, or one stands twice.
    """
    remedy = f"begin it with the names of the columns: {HEADER} (only at and seconds are needed)"
    if row is None:
        raise CliError(f"{name} is empty", next=remedy)
    header = [cell.strip().lower() for cell in row.cells]
    while header and not header[-1]:
        header.pop()
    if missing := [column for column in REQUIRED if column not in header]:
        other = next((one for one in SEPARATORS if len(header) == 1 and one in header[0]), None)
        raise CliError(
            f"{name} has no column {missing[0]} in its first line",
            next=remedy if other is None else f"write it with commas, not with {other!r}, and {remedy}",
        )
    if twice := [column for column in COLUMNS if header.count(column) > 1]:
        raise CliError(f"{name} has the column {twice[0]} twice", next="leave one of them, or give one another name")
    return header


def of_header(header: Sequence[str]) -> Iterator[str]:
    """What is said of columns that are not used."""
    for number, column in enumerate(header, start=1):
        if not column:
            yield f"column {number} has no name, and is not used"
        elif column not in COLUMNS:
            yield f"column {column}: there is no such column, and it is not used; these are: {', '.join(COLUMNS)}"


def cells_of(header: Sequence[str], row: Row) -> dict[str, str]:
    """What stands in each column, where something does.

    Raises:
        RowError: the row is none, or has more cells than there are columns.
    """
    if row.problem:
        raise RowError("", row.problem)
    if over := [cell.strip() for cell in row.cells[len(header) :] if cell.strip()]:
        raise RowError("", f"{over[0]!r} stands in no column; write a text with commas in double quotes")
    given = {column: cell.strip() for column, cell in zip(header, row.cells, strict=False) if cell.strip()}
    if broken := [column for column in COLUMNS if len(given.get(column, "").splitlines()) > 1]:
        raise RowError(broken[0], OPEN)
    return given
