"""What a commit leaves to the night, the commits after it play."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.turns import ROOT, THIRDS, Turn, is_left_out, mark_for_the_night


@dataclass
class Collected:
    """As much of a collected test as is looked at."""

    path: Path
    share: int | None
    group: tuple[str, ...] = ()
    e2e: bool = False
    marks: list[str] = field(default_factory=list)

    def get_closest_marker(self, name: str) -> Any:  # noqa: ANN401  (pytest's)
        if name == "e2e":
            return pytest.mark.e2e.mark if self.e2e else None
        assert name == "share"
        return None if self.share is None else pytest.mark.share(self.share, *self.group).mark

    def add_marker(self, name: str) -> None:
        self.marks.append(name)


def turn_number(number: int) -> Turn:
    return Turn(root=Path("nowhere"), number=number)


@pytest.mark.parametrize("share", [2, 3, 7])
def test_as_many_commits_as_a_share_says_play_every_test_once(share: int) -> None:
    played: list[int] = []
    for turn in range(10, 10 + share):
        tests = [Collected(Path("a"), share) for _ in range(20)]
        mark_for_the_night(tests, turn_number(turn))  # type: ignore[arg-type]
        played += [number for number, test in enumerate(tests) if not test.marks]
    assert sorted(played) == list(range(20))


def played_at(turn: int, tests: Sequence[Collected]) -> list[bool]:
    for test in tests:
        test.marks.clear()
    mark_for_the_night(tests, turn_number(turn))  # type: ignore[arg-type]
    return [not test.marks for test in tests]


def test_files_and_shares_are_groups_of_their_own_and_a_test_without_a_share_is_always_played() -> None:
    tests = [Collected(Path("a"), 2), Collected(Path("b"), 2), Collected(Path("b"), 3), Collected(Path("b"), None)]
    played = [played_at(turn, tests) for turn in range(6)]
    assert [sum(each) for each in zip(*played, strict=True)] == [3, 3, 2, 6]


def test_a_group_with_a_name_takes_turns_over_its_files_and_a_commit_plays_what_it_changes() -> None:
    tests = [Collected(Path(name), 3, ("whole stacks",)) for name in ("a", "b", "c", "d", "e")]
    played = [played_at(turn, tests) for turn in range(3)]
    assert [sum(each) for each in zip(*played, strict=True)] == [1, 1, 1, 1, 1]
    assert {sum(each) for each in played} == {1, 2}
    changed = Turn(root=Path("nowhere"), number=played.index(next(each for each in played if not each[0])),
                   changed={Path("a")})  # fmt: skip
    for test in tests:
        test.marks.clear()
    mark_for_the_night(tests, changed)  # type: ignore[arg-type]
    assert [not test.marks for test in tests] == [True, *played[changed.number][1:]]


def test_small_files_do_not_all_begin_with_the_same_commit() -> None:
    tests = [Collected(Path(f"test_{name}.py"), 4) for name in ("hold", "grace", "units", "seeds", "standby", "values")]
    played = [sum(played_at(turn, tests)) for turn in range(4)]
    assert sum(played) == len(tests)
    assert max(played) < len(tests)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with five files of tests in each directory that is played by thirds, and one in another."""
    for directory in (*THIRDS, "tests/unit"):
        (tmp_path / directory).mkdir(parents=True, exist_ok=True)
        for number in range(5):
            (tmp_path / directory / f"test_{number}.py").touch()
    return tmp_path


def test_three_commits_in_a_row_play_every_file_of_a_third_once_and_the_others_each_time(root: Path) -> None:
    files = sorted(root.rglob("test_*.py"))
    played = {file: sum(Turn(root=root, number=turn).plays(file) for turn in (8, 9, 10)) for file in files}
    assert {played[file] for file in files if file.parent == root / "tests/unit"} == {3}
    assert {played[file] for file in files if file.parent != root / "tests/unit"} == {1}
    assert len(files) == 5 * len(THIRDS) + 5


def test_three_commits_in_a_row_play_every_file_whatever_files_they_add(root: Path) -> None:
    files = sorted(root.rglob("test_*.py"))
    played: set[Path] = set()
    for number in (8, 9, 10):
        turn = Turn(root=root, number=number)
        played |= {file for file in files if turn.plays(file)}
        for directory in THIRDS:
            (root / directory / f"test_00{number}.py").touch()
    assert played == set(files)


def test_each_commit_plays_about_a_third_of_the_files() -> None:
    files = [file for directory in THIRDS for file in (ROOT / directory).glob("test_*.py")]
    played = [sum(Turn(root=ROOT, number=number).plays(file) for file in files) for number in range(3)]
    assert sum(played) == len(files)
    assert max(played) < 0.4 * len(files)


def test_a_commit_plays_the_files_that_it_changes(root: Path) -> None:
    file = root / THIRDS[0] / "test_0.py"
    assert all(Turn(root=root, number=turn, changed={file}).plays(file) for turn in (8, 9, 10))


def test_a_file_that_waits_for_its_turn_has_its_end_to_end_tests_played(root: Path) -> None:
    file = root / THIRDS[0] / "test_0.py"
    turn = later(root, file)
    tests = [Collected(file, None), Collected(file, None, e2e=True)]
    mark_for_the_night(tests, turn)  # type: ignore[arg-type]
    assert [test.marks for test in tests] == [["night"], []]
    assert is_left_out(file, "not e2e and not night", turn)
    assert not is_left_out(file, "e2e and not night", turn)
    assert not is_left_out(file, "night", turn)
    assert not is_left_out(file, "", turn)


def test_the_shares_of_a_file_that_is_played_at_every_third_turn_are_all_played(root: Path) -> None:
    file = root / THIRDS[0] / "test_0.py"
    played: set[int] = set()
    for number in range(12):
        tests = [Collected(file, 2) for _ in range(4)]
        mark_for_the_night(tests, Turn(root=root, number=number))  # type: ignore[arg-type]
        played |= {index for index, test in enumerate(tests) if not test.marks}
    assert played == {0, 1, 2, 3}


def test_the_shares_of_end_to_end_tests_in_such_a_file_have_a_turn_at_each_commit(root: Path) -> None:
    """Because the file's own turn does not count for them."""
    file = root / THIRDS[0] / "test_0.py"
    played = []
    for number in range(4):
        tests = [Collected(file, 4, e2e=True) for _ in range(4)]
        mark_for_the_night(tests, Turn(root=root, number=number))  # type: ignore[arg-type]
        played += [index for index, test in enumerate(tests) if not test.marks]
    assert sorted(played) == [0, 1, 2, 3]


def later(root: Path, file: Path) -> Turn:
    """A turn at which that file is not played."""
    return next(turn for number in (8, 9) if not (turn := Turn(root=root, number=number)).plays(file))
