"""Rows of a table from every combination of its columns: what decides alike becomes one row."""

from collections.abc import Mapping, Sequence
from enum import Enum
from itertools import product

Cell = tuple[Enum, ...]
Row = tuple[list[list[Enum]], str]


def rows(
    values: Sequence[Sequence[Enum]],
    decided: Mapping[Cell, str],
    folded: Mapping[Cell, str],
    fold: str,
    prefix: Cell = (),
) -> list[Row]:
    """Rows that cover every cell that begins so, once: values of a column that decide alike go together.

    Args:
        values: of each column.
        decided: what is said in each cell that can be.
        folded: what the last columns may say together; then the row says `fold` in place of it.
    """
    depth = len(prefix)
    if depth and {cell[depth:]: said for cell, said in decided.items()} == folded:
        return [([list(column) for column in values[depth:]], fold)]
    if depth == len(values):
        return [([], decided[prefix])] if prefix in decided else []
    groups: list[tuple[list[Enum], dict[Cell, str]]] = []
    for value in values[depth]:
        below = {
            rest: decided[*prefix, value, *rest]
            for rest in product(*values[depth + 1 :])
            if (*prefix, value, *rest) in decided
        }
        if not below:
            continue
        for members, known in groups:
            if all(known.get(rest, said) == said for rest, said in below.items()):
                members.append(value)
                known.update(below)
                break
        else:
            groups.append(([value], dict(below)))
    found: list[Row] = []
    for members, known in groups:
        merged = {(*prefix, members[0], *rest): said for rest, said in known.items()}
        found += [([members, *row], said) for row, said in rows(values, merged, folded, fold, (*prefix, members[0]))]
    return found
