"""Git mirrors, as a VM tells of them when its agent starts (infra/vm/mirrors.sh)."""

import re
from dataclasses import dataclass
from datetime import timedelta

_TOLD = re.compile(r"\(mirrors ([0-9]{1,4})/([0-9]{1,4}) ([0-9]{1,9}) s\) ?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrors:
    """What became of the mirrors that the operator listed.

    Attributes:
        age: of the oldest seed that was used; None where none was.
        trouble: of the first one that is missing; empty where none is.
    """

    there: int
    missing: int
    age: timedelta | None
    trouble: str


def told_of_mirrors(detail: str) -> Mirrors | None:
    """What those words say of mirrors; None where they say nothing. A VM may write anything."""
    told = _TOLD.match(detail)
    if told is None:
        return None
    there, wanted, seconds = (int(told[number]) for number in (1, 2, 3))
    return Mirrors(
        there=there,
        missing=max(0, wanted - there),
        age=timedelta(seconds=seconds) if there else None,
        trouble=told[4].strip(),
    )
