"""Whose turn it is: what takes too long for every commit is done a part at a time, each commit's part its own."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

ThingT = TypeVar("ThingT")


def turn_of(root: Path) -> int:
    """The turn of the commit that is checked out there: the same on every machine.

    It is the number of commits up to it, so that commits that follow each other take the parts in turn. A clone without
    its history has no such number; there it is the commit's hash, which fits any number of turns. Without git it is 0.
    """
    try:
        if _git(root, "rev-parse", "--is-shallow-repository") == "true":
            return int(_git(root, "rev-parse", "HEAD"), 16)
        return int(_git(root, "rev-list", "--count", "HEAD"))
    except (OSError, subprocess.CalledProcessError):
        return 0


def changed_files(root: Path) -> Sequence[str]:
    """The files that the commit that is checked out there changes; none where its parent is not known."""
    try:
        return _git(root, "diff", "--name-only", "HEAD~1", "HEAD").splitlines()
    except (OSError, subprocess.CalledProcessError):
        return ()


def of_turn(things: Sequence[ThingT], turn: int, turns: int) -> Sequence[ThingT]:
    """Those whose turn it is; those of that many turns in a row are all of them, each once."""
    return things[turn % turns :: turns]


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()
