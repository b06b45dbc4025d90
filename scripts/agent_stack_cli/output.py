"""What a verb prints: tables for people, JSON for programs.

Text of pipelines, VMs and AWS reaches the terminal through `clean` only. Rich's markup is off, so that square brackets
stay what they are; control characters, which could move the cursor or colour the page, become visible marks.
"""

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH_WHEN_PIPED = 240
"""Columns where no terminal says how wide it is: a program that reads a table wants whole lines."""

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that a terminal does not show but obeys: control, format (direction marks) and line breaks."""

STYLES = {"error": "bold red", "warning": "yellow", "ok": "green", "quiet": "dim", "head": "bold"}


def clean(text: object) -> str:
    """The text without characters that a terminal obeys; the hexadecimal number of each takes its place."""
    return "".join(_visible(character) for character in str(text))


def _visible(character: str) -> str:
    if unicodedata.category(character) not in HIDDEN:
        return character
    number = ord(character)
    return f"\\x{number:02x}" if number <= 0xFF else f"\\u{number:04x}"  # noqa: PLR2004  (one byte)


def as_data(value: Any) -> Any:  # noqa: ANN401, PLR0911  (any value of a view)
    """A view as JSON takes it: dataclasses as objects, times as ISO 8601 in UTC, durations as seconds."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: as_data(part) for name, part in asdict(value).items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Mapping):
        return {str(as_data(key)): as_data(part) for key, part in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(as_data(part) for part in value)
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return [as_data(part) for part in value]
    return value


class Output:
    """Where a verb writes."""

    def __init__(self, *, as_json: bool) -> None:
        """Writes to standard output, without colour where that is no terminal or NO_COLOR is set."""
        self.as_json = as_json
        terminal = sys.stdout.isatty()
        self.console = Console(
            file=sys.stdout,
            markup=False,
            highlight=False,
            emoji=False,
            width=None if terminal else WIDTH_WHEN_PIPED,
            no_color=None if terminal else True,
        )

    def json(self, view: object) -> None:
        """The view as JSON. JSON escapes control characters itself, so that programs get the text as it is."""
        sys.stdout.write(json.dumps(as_data(view), indent=2) + "\n")

    def line(self, text: object = "", style: str = "") -> None:
        """One line."""
        self.console.print(Text(clean(text), style=STYLES.get(style, style)), soft_wrap=True)

    def head(self, text: str) -> None:
        """A heading, after an empty line."""
        self.console.print()
        self.line(text, "head")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], *, style: str = "") -> None:
        """A table without lines, so that `cut` and `awk` read it; nothing when there is no row."""
        table = Table(box=box.SIMPLE_HEAD if self.console.is_terminal else None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(Text(clean(column)), overflow="fold")
        for row in rows:
            table.add_row(
                *(Text(clean("" if value is None else value), style=STYLES.get(style, style)) for value in row)
            )
        if table.row_count:
            self.console.print(table)


def ago(then: datetime | None, now: datetime) -> str:
    """How long ago, as people say it."""
    return "never" if then is None else span(now - then) + " ago"


def span(duration: timedelta) -> str:
    """A duration: seconds below two minutes, then minutes, hours, days."""
    seconds = duration.total_seconds()
    if seconds < 120:  # noqa: PLR2004  (below two minutes people count seconds)
        return f"{seconds:.0f} s"
    if seconds < 7200:  # noqa: PLR2004  (below two hours people count minutes)
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.1f} d"  # noqa: PLR2004  (two days)
