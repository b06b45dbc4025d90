"""What each commit plays of the tests: of some groups a share, by turns.

`@pytest.mark.share(3)`, or `pytestmark = pytest.mark.share(3)` for a file: `.ci/run` plays every third of the file's
tests with that mark, three commits in a row play them all, and so do each night and a plain `scripts/test`. With which
member a commit begins depends on the file's name, too: else one commit would play the first of every small file.
`share(3, "whole stacks")` makes one group of all tests with that name, whichever files they are in.

Of the directories in `THIRDS`, each commit plays a third of the files, and each file that it changes itself. The third
depends on the file's name, so that three commits in a row play every file, whatever files they add.
"""

import zlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import pytest

from tests.simulator.simulation.rotation import changed_files, of_turn, turn_of

ROOT = Path(__file__).resolve().parents[1]
THIRDS = (
    "tests/artefact",
    "tests/cli",
    "tests/contract",
    "tests/infra",
    "tests/scenario",
    "tests/unit/simulator",
    "tests/vm",
)
"""Their tests take long, and their files are about one thing each. A test with the mark `e2e` has its own turns."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One commit's turn.

    Attributes:
        number: that of the commit.
        changed: the files that it changes, which it plays whatever their turn; not all shares in them, but those of a
            group with a name.
    """

    root: Path
    number: int
    changed: Collection[Path] = ()

    @classmethod
    def of_the_commit(cls, root: Path = ROOT) -> Self:
        """That of the commit that is checked out."""
        return cls(root=root, number=turn_of(root), changed={root / name for name in changed_files(root)})

    def plays(self, file: Path) -> bool:
        """Whether the commit plays this file of tests; of a share in it, only what its turn is."""
        return not self._is_of_a_third(file) or self.number % 3 == _number_of(file.stem) % 3 or file in self.changed

    def of_shares(self, group: Path | str, *, e2e: bool = False) -> int:
        """The turn of the shares in a file or a named group.

        A file of a third is played at every third turn, but for its end-to-end tests.
        """
        if isinstance(group, str):
            return self.number + _number_of(group)
        waits = self._is_of_a_third(group) and not e2e
        return (self.number // 3 if waits else self.number) + _number_of(group.name)

    def _is_of_a_third(self, file: Path) -> bool:
        return file.parent in self._directories and file.match("test_*.py")

    @cached_property
    def _directories(self) -> frozenset[Path]:
        return frozenset(self.root / directory for directory in THIRDS)


def _number_of(name: str) -> int:
    return zlib.crc32(name.encode())


def mark_for_the_night(items: Sequence[pytest.Item], turn: Turn | None = None) -> None:
    """Mark those as `night` whose turn it is not.

    Args:
        items: all that were collected; the members of a group in their order.
        turn: that of the commit that is checked out, where nothing is said.
    """
    turn = turn or Turn.of_the_commit()
    groups: dict[tuple[Path | str, int, bool], list[pytest.Item]] = defaultdict(list)
    for item in items:
        share, e2e = item.get_closest_marker("share"), item.get_closest_marker("e2e") is not None
        if share is not None:
            turns, group = (*share.args, item.path)[:2]
            groups[group, turns, e2e].append(item)
        if not e2e and not turn.plays(item.path):
            item.add_marker("night")
    for (group, turns, e2e), members in groups.items():
        by_day = {id(item) for item in of_turn(members, turn.of_shares(group, e2e=e2e), turns)}
        for item in members:
            if id(item) not in by_day and not (isinstance(group, str) and item.path in turn.changed):
                item.add_marker("night")


def is_left_out(file: Path, markers: str, turn: Turn) -> bool:
    """Whether pytest's `-m` leaves out all of this file's tests, which then need not be read."""
    return "not e2e and not night" in markers and file.suffix == ".py" and not turn.plays(file)
