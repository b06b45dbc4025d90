"""Which mutants' turn it is depends on the commit alone."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.simulator.simulation.mutants import MUTANTS
from tests.simulator.simulation.rotation import of_turn, turn_of

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")


def git(directory: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(directory), *identity, *arguments], check=True, capture_output=True)


def head(directory: Path) -> str:
    return subprocess.run(
        ["git", "-C", str(directory), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    made = tmp_path / "repository"
    made.mkdir()
    git(made, "init", "-q", "-b", "main")
    for number in range(4):
        git(made, "commit", "-q", "--allow-empty", "-m", f"commit {number}")
    return made


@pytest.mark.parametrize("turns", [3, 8])
@pytest.mark.parametrize("first", [0, 1, 7, 2**160 - 1])
def test_turns_in_a_row_take_every_mutant_once(first: int, turns: int) -> None:
    taken = [mutant for turn in range(first, first + turns) for mutant in of_turn(MUTANTS, turn, turns)]
    assert sorted(m.name for m in taken) == sorted(m.name for m in MUTANTS)


@needs_git
def test_the_next_commit_has_the_next_turn(repository: Path) -> None:
    before = turn_of(repository)
    git(repository, "commit", "-q", "--allow-empty", "-m", "the next")
    assert turn_of(repository) == before + 1


@needs_git
def test_another_clone_of_a_commit_has_its_turn(repository: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", str(repository), "whole")
    assert turn_of(tmp_path / "whole") == turn_of(repository)


@needs_git
def test_clones_without_history_agree(repository: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        git(tmp_path, "clone", "-q", "--depth=1", f"file://{repository}", name)
    assert turn_of(tmp_path / "one") == turn_of(tmp_path / "other")


@needs_git
def test_the_turn_of_a_clone_without_history_is_good_for_any_number_of_turns(repository: Path, tmp_path: Path) -> None:
    """A turn below three is never the fourth of eight."""
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repository}", "one")
    assert turn_of(tmp_path / "one") == int(head(repository), 16)


def test_without_git_there_is_a_turn_too(tmp_path: Path) -> None:
    assert turn_of(tmp_path / "nowhere") == 0
