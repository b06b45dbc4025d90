"""What a commit leaves to the night, the commits after it play."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.turns import mark_for_the_night


@dataclass
class Collected:
    """As much of a collected test as is looked at."""

    path: Path
    share: int | None
    marks: list[str] = field(default_factory=list)

    def get_closest_marker(self, name: str) -> Any:  # noqa: ANN401  (pytest's)
        assert name == "share"
        return None if self.share is None else pytest.mark.share(self.share).mark

    def add_marker(self, name: str) -> None:
        self.marks.append(name)


@pytest.mark.parametrize("share", [2, 3, 7])
def test_as_many_commits_as_a_share_says_play_every_test_once(share: int) -> None:
    played: list[int] = []
    for turn in range(10, 10 + share):
        tests = [Collected(Path("a"), share) for _ in range(20)]
        mark_for_the_night(tests, turn)  # type: ignore[arg-type]
        played += [number for number, test in enumerate(tests) if not test.marks]
    assert sorted(played) == list(range(20))


def played_at(turn: int, tests: Sequence[Collected]) -> list[bool]:
    for test in tests:
        test.marks.clear()
    mark_for_the_night(tests, turn)  # type: ignore[arg-type]
    return [not test.marks for test in tests]


def test_files_and_shares_are_groups_of_their_own_and_a_test_without_a_share_is_always_played() -> None:
    tests = [Collected(Path("a"), 2), Collected(Path("b"), 2), Collected(Path("b"), 3), Collected(Path("b"), None)]
    played = [played_at(turn, tests) for turn in range(6)]
    assert [sum(each) for each in zip(*played, strict=True)] == [3, 3, 2, 6]


def test_small_files_do_not_all_begin_with_the_same_commit() -> None:
    tests = [Collected(Path(f"test_{name}.py"), 4) for name in ("hold", "grace", "units", "seeds", "standby", "values")]
    played = [sum(played_at(turn, tests)) for turn in range(4)]
    assert sum(played) == len(tests)
    assert max(played) < len(tests)
