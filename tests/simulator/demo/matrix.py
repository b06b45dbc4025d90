"""A step's matrix: one job for each combination, with its values in the texts that name them.

Source: the build matrix page of the public documentation.
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.simulator.demo.values import skip, soft_fail, text

_MOST: Final = 50
"""Jobs of one matrix; Buildkite refuses more."""

_PLACE = re.compile(r"\{\{\s*matrix(?:\.([A-Za-z0-9_-]+))?\s*\}\}")
_ONLY = ""
"""The dimension of a matrix that is a plain list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """One job of the matrix; `soft_fail` and `skip` are None where no adjustment says so."""

    values: Mapping[str, str]
    soft_fail: bool | tuple[int, ...] | None = None
    skip: str | None = None
    plain: bool = False
    """The one job of a step without a matrix: its texts stay as they are."""

    def fill(self, template: str) -> str:
        """A text with this combination's values in it.

        Raises:
            ValueError: it names a dimension that the matrix does not have.
        """

        def value(place: re.Match[str]) -> str:
            name = place[1] or _ONLY
            if name not in self.values:
                there = ", ".join(f"matrix.{known}" if known else "matrix" for known in self.values)
                raise ValueError(f"names {place[0]}, and the matrix has {there}")
            return self.values[name]

        if self.plain:
            return template
        return _PLACE.sub(value, template)

    def filled(self, value: Any) -> Any:  # noqa: ANN401  (whatever stands in the file)
        """The same in all texts of lists and mappings."""
        if isinstance(value, str):
            return self.fill(value)
        if isinstance(value, Mapping):
            return {self.fill(str(key)): self.filled(item) for key, item in value.items()}
        return [self.filled(item) for item in value] if isinstance(value, list) else value


def combinations(value: Any) -> tuple[Combination, ...]:  # noqa: ANN401
    """All combinations, in the order of the file.

    Raises:
        ValueError: says what may stand there.
    """
    setup, adjustments = (value, []) if isinstance(value, list) else _parts(value)
    dimensions = {_ONLY: setup} if isinstance(setup, list) else setup
    if not all(isinstance(values, list) and values for values in dimensions.values()):
        raise ValueError("each dimension should be a list of values")
    made = {
        tuple(values): Combination(values=dict(zip(dimensions, values, strict=True)))
        for values in itertools.product(*([text(one) for one in values] for values in dimensions.values()))
    }
    for adjustment in adjustments:
        values = _with(adjustment, tuple(dimensions))
        key = tuple(values.values())
        made[key] = Combination(
            values=values,
            skip=skip(adjustment.get("skip", False)),
            soft_fail=soft_fail(adjustment["soft_fail"]) if "soft_fail" in adjustment else None,
        )
    if len(made) > _MOST:
        raise ValueError(f"has {len(made)} combinations, and Buildkite takes {_MOST} at most")
    return tuple(made.values())


def _parts(value: Any) -> tuple[Any, list[Mapping[str, Any]]]:  # noqa: ANN401
    if not isinstance(value, Mapping) or set(value) - {"setup", "adjustments"} or "setup" not in value:
        raise ValueError("should be a list of values, or have `setup` and may have `adjustments`")
    setup, adjustments = value["setup"], value.get("adjustments") or []
    if not (isinstance(setup, list | Mapping) and isinstance(adjustments, list)):
        raise ValueError("setup should be a list, or a mapping of lists; adjustments should be a list")  # noqa: TRY004
    return setup, adjustments


def _with(adjustment: Any, dimensions: tuple[str, ...]) -> dict[str, str]:  # noqa: ANN401
    known = {"with", "skip", "soft_fail"}
    if not isinstance(adjustment, Mapping) or set(adjustment) - known or "with" not in adjustment:
        raise ValueError("adjustments: each should have `with`, and may have `skip` and `soft_fail`")
    given = adjustment["with"]
    if not isinstance(given, Mapping):
        given = {_ONLY: given[0] if isinstance(given, list) and len(given) == 1 else given}
    if set(given) != set(dimensions):
        raise ValueError("adjustments: `with` should name a value of each dimension")
    return {name: text(given[name]) for name in dimensions}
