"""One value as DynamoDB's wire has it, and back: of its types those that stand in our tables.

boto3 has the same for every type; it takes three times the CPU, of which a small function has little.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from agent_stack.domain.errors import BugError


@dataclass(frozen=True, slots=True)
class Unread:
    """A value of a type that no version of this code writes, such as `B` or `NS`: it is there, and says nothing.

    One attribute that somebody added costs nothing but itself. Who needs that attribute finds no text and no number.
    """

    kind: str


_READERS: Mapping[str, Any] = {
    "S": str,
    "N": Decimal,
    "BOOL": bool,
    "SS": set,
    "NULL": lambda _: None,
    "M": lambda parts: {name: unpack(part) for name, part in parts.items()},
    "L": lambda parts: [unpack(part) for part in parts],
}


def pack(value: Any) -> dict[str, Any]:  # noqa: ANN401  (any of them)
    """That value with its type.

    Raises:
        BugError: a type that no item of ours has; a float would lose digits on its way, so it is one.
    """
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bool):  # before int, which it is too
        return {"BOOL": value}
    if isinstance(value, int | Decimal):
        return {"N": str(value)}
    if isinstance(value, set | frozenset):
        return {"SS": sorted(value)}
    if isinstance(value, dict):
        return {"M": {name: pack(part) for name, part in value.items()}}
    if isinstance(value, list):
        return {"L": [pack(part) for part in value]}
    raise BugError(f"a {type(value).__name__} cannot stand in an item")


def unpack(value: Mapping[str, Any]) -> Any:  # noqa: ANN401  (any of them)
    """What `pack` was given; `Unread` for what `pack` never gives."""
    ((kind, content),) = value.items()
    reader = _READERS.get(kind)
    return Unread(kind) if reader is None else reader(content)
