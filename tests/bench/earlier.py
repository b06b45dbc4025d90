"""What an earlier version measures of itself on this machine, and this version's figures as a part of that.

Seconds of two machines, or of two hours of one machine, compare nothing: so the earlier version plays its own benchmark
now. It does so in a copy of its files, which leaves nothing behind in the repository, however the benchmark ends.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 900

Rows = Sequence[Mapping[str, Any]]


class EarlierError(Exception):
    """There is nothing to compare with; the message says why, and what to do."""


class Row(Protocol):
    """One way of booting, as this version measured it."""

    @property
    def way(self) -> str: ...
    @property
    def processes(self) -> int: ...
    @property
    def requests(self) -> Mapping[str, int]: ...
    @property
    def seconds_median(self) -> float: ...
    @property
    def seconds_shortest(self) -> float: ...


def measured_by(value: str, options: Sequence[str] = (), repository: Path = ROOT) -> Rows:
    """What `--json` printed into the file of that name, or else prints at the git reference of that name.

    Raises:
        EarlierError: it is neither, or that version cannot measure itself.
    """
    path = Path(value)
    if path.is_file():
        try:
            rows: Rows = json.loads(path.read_text())
        except ValueError as error:
            raise EarlierError(f"--against {value} is no output of scripts/bench boot --json: {error}") from error
        return rows
    with tempfile.TemporaryDirectory(prefix="agent-stack-earlier-") as directory:
        _unpack(value, repository, Path(directory))
        return _measure(value, Path(directory), options)


def _unpack(reference: str, repository: Path, directory: Path) -> None:
    packed = directory / "files.tar"
    # The end of options, because a reference that begins with a dash would be one.
    archive = ["git", "-C", str(repository), "archive", "-o", str(packed), "--end-of-options", reference]
    done = subprocess.run(archive, check=False, capture_output=True, text=True)
    if done.returncode:
        raise EarlierError(
            f"--against {reference} is no file, and no git reference here: {_last_line(done.stderr)}. "
            "Name a file that scripts/bench boot --json wrote, or a commit that git log shows"
        )
    subprocess.run(["tar", "-xf", str(packed), "-C", str(directory)], check=True)
    packed.unlink()


def _measure(reference: str, directory: Path, options: Sequence[str]) -> Rows:
    path = os.pathsep.join(str(directory / part) for part in ("functions", "scripts", "."))
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.boot", "--json", *options],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": path, "PYTHONPYCACHEPREFIX": str(directory / "bytecode")},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    try:
        rows: Rows = json.loads(done.stdout) if done.returncode == 0 else []
    except ValueError:
        rows = []
    if not rows:
        raise EarlierError(
            f"--against {reference}: that version has no tests.bench.boot --json that ends well: "
            f"{_last_line(done.stderr)}. Name a later one"
        )
    return rows


def _last_line(said: str) -> str:
    return (said.strip().splitlines() or ["it said nothing"])[-1]


def table(rows: Rows) -> str:
    """The earlier figures, a way in each line."""
    lines = [
        f"{row['way']:<8}{_processes(row):>9}{_requests(row):>10}"
        f"  {row['seconds_median']:>6} {row['seconds_shortest']:>6}"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def compared(measured: Sequence[Row], rows: Rows) -> str:
    """This version's figures as a part of the earlier ones, way by way; a way that only one has is left out."""
    before = {row["way"]: row for row in rows}
    lines = []
    for row in measured:
        if row.way not in before:
            continue
        earlier = before[row.way]
        lines.append(
            f"{row.way}: {row.processes / _processes(earlier):.2f} of the earlier processes, "
            f"{sum(row.requests.values()) / _requests(earlier):.2f} of the requests, "
            f"{row.seconds_median / earlier['seconds_median']:.2f} of the median time and "
            f"{row.seconds_shortest / earlier['seconds_shortest']:.2f} of the shortest"
        )
    return "\n".join(lines) + "\n"


def _processes(row: Mapping[str, Any]) -> int:
    return sum(row["by_program"].values())


def _requests(row: Mapping[str, Any]) -> int:
    return sum(row["requests"].values())
