"""`scripts/bench boot --against`: an earlier version measures itself, from its own files, and is compared."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.bench.earlier import EarlierError, compared, measured_by, table

ROW = {
    "way": "stock",
    "by_program": {"curl": 30, "sed": 10},
    "requests": {"metadata": 20},
    "seconds_median": 2.0,
    "seconds_shortest": 1.0,
}
GOOD = f"""
import json, sys, here
assert "--json" in sys.argv
row = {ROW!r}
row["by_program"]["sed"] = here.SED + len(sys.argv)
print(json.dumps([row]))
"""
BAD = "import sys; sys.exit('Counter cannot be written')\n"


@dataclass(frozen=True)
class Now:
    """What this version measured."""

    way: str = "stock"
    processes: int = 20
    requests: Mapping[str, int] = field(default_factory=dict)
    seconds_median: float = 1.0
    seconds_shortest: float = 0.25


def git(directory: Path, *arguments: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(directory), *who, *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions: the tagged one measures itself, the last one cannot."""
    directory = tmp_path_factory.mktemp("repository")
    git(directory, "init", "-q")
    bench = directory / "tests" / "bench"
    bench.mkdir(parents=True)
    (directory / "functions").mkdir()
    (directory / "functions" / "here.py").write_text("SED = 10\n")
    for text, tag in ((GOOD, "good"), (BAD, "bad")):
        (bench / "boot.py").write_text(text)
        git(directory, "add", ".")
        git(directory, "commit", "-q", "-m", tag)
        git(directory, "tag", tag)
    (directory / "functions" / "here.py").write_text("SED = 1000\n")
    return directory


def test_a_reference_measures_itself_with_its_own_files_and_our_options(repository: Path) -> None:
    (row,) = measured_by("good", ["--quick"], repository)
    assert row["by_program"] == {"curl": 30, "sed": 13}
    status = subprocess.run(
        ["git", "-C", str(repository), "worktree", "list"], check=True, capture_output=True, text=True
    )
    assert len(status.stdout.splitlines()) == 1


def test_a_file_is_what_an_earlier_run_wrote(tmp_path: Path) -> None:
    (tmp_path / "it.json").write_text(json.dumps([ROW]))
    assert measured_by(str(tmp_path / "it.json")) == [ROW]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("none", "--against none is no file, and no git reference here: "),
        ("--output=x", "--against --output=x is no file, and no git reference here: "),
        ("bad", "Counter cannot be written. Name a later one"),
    ],
)
def test_what_cannot_be_measured_is_named_with_the_remedy(repository: Path, value: str, said: str) -> None:
    with pytest.raises(EarlierError, match=r"Name a ") as caught:
        measured_by(value, (), repository)
    assert said in str(caught.value)


def test_a_file_that_is_none_of_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "it.json").write_text("stock 1 2 3")
    with pytest.raises(EarlierError, match="is no output of scripts/bench boot --json"):
        measured_by(str(tmp_path / "it.json"))


def test_processes_requests_and_seconds_are_parts_of_the_earlier_ones() -> None:
    now = Now(requests={"metadata": 15})
    assert compared([now, Now(way="new")], [ROW]) == (
        "stock: 0.50 of the earlier processes, 0.75 of the requests, 0.50 of the median time and 0.25 of the shortest\n"
    )
    assert table([ROW]).split() == ["stock", "40", "20", "2.0", "1.0"]
