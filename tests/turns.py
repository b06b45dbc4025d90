"""What each commit plays of a group of tests whose members differ in one value: a share, by turns.

`@pytest.mark.share(3)`, or `pytestmark = pytest.mark.share(3)` for a file: `.ci/run` plays every third of the file's
tests with that mark, three commits in a row play them all, and so do each night and a plain `scripts/test`. With which
member a commit begins depends on the file's name, too: else one commit would play the first of every small file.
"""

import zlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.simulator.simulation.rotation import of_turn, turn_of

ROOT = Path(__file__).resolve().parents[1]


def mark_for_the_night(items: Sequence[pytest.Item], turn: int | None = None) -> None:
    """Mark those as `night` whose turn it is not.

    Args:
        items: all that were collected; the members of a group in their order.
        turn: that of the commit that is checked out, where nothing is said.
    """
    groups: dict[tuple[Path, int], list[pytest.Item]] = defaultdict(list)
    for item in items:
        share = item.get_closest_marker("share")
        if share is not None:
            groups[item.path, share.args[0]].append(item)
    if groups and turn is None:
        turn = turn_of(ROOT)
    for (path, turns), members in groups.items():
        by_day = {id(item) for item in of_turn(members, (turn or 0) + zlib.crc32(path.name.encode()), turns)}
        for item in members:
            if id(item) not in by_day:
                item.add_marker("night")
