"""Nearest: the names that a misspelt one was most likely meant to be, by edit distance."""

from collections.abc import Iterable
from functools import lru_cache

MAX_COMPARED = 64
"""Characters of a name: a class's has no more, and a job's rule may have any number."""


def nearest(asked: str, names: Iterable[str], *, count: int) -> tuple[str, ...]:
    """The names with the fewest edits first, equal ones in alphabetical order."""
    return _nearest(asked[:MAX_COMPARED], tuple(sorted(names)))[:count]


@lru_cache(maxsize=256)  # every cycle asks about the same jobs again
def _nearest(asked: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: _edits(asked, name[:MAX_COMPARED])))


def _edits(one: str, other: str) -> int:
    """How many characters must be added, removed or replaced (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, start=1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(other, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]
