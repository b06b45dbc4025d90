"""Whether a value, with all that it holds, has the types of its class: mypy does not see what a table holds."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints


def untyped(value: object, hint: Any, path: str = "") -> list[str]:  # noqa: ANN401  (any type hint)
    """Where the value has another type than that, as paths; none where all is right."""
    while hasattr(hint, "__supertype__"):
        hint = hint.__supertype__
    origin, parts = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        return min((untyped(value, part, path) for part in parts), key=len)
    kind = origin or hint
    if type(value) is not kind and not (kind not in {str, int, float} and isinstance(value, kind)):
        return [f"{path}: {type(value).__name__}"]
    if is_dataclass(value):
        hints = get_type_hints(type(value))
        return [wrong for name in hints for wrong in untyped(getattr(value, name), hints[name], f"{path}.{name}")]
    if isinstance(value, Mapping) and parts:
        pairs = [(part, one) for key, entry in value.items() for one, part in ((key, parts[0]), (entry, parts[1]))]
    elif isinstance(value, tuple) and parts and parts[-1] is not Ellipsis:
        pairs = list(zip(parts, value, strict=True))
    elif isinstance(value, tuple | frozenset) and parts:
        pairs = [(parts[0], one) for one in value]
    else:
        pairs = []
    return [wrong for part, one in pairs for wrong in untyped(one, part, f"{path}[]")]
