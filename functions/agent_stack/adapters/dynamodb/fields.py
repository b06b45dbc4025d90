"""Attributes of an item, each with the type that a version of ours writes.

Somebody may have changed an item by hand. A number in place of a text would pass here, and fail in a step that works on
everything at once. So it fails here, where it costs its own item, and the error names the attribute.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from agent_stack.adapters.dynamodb.wire import Unread
from agent_stack.domain.errors import BugError

UNREADABLE = (KeyError, ValueError, TypeError, AttributeError, ArithmeticError)
"""What reading an item raises when no version of ours writes such a one."""

LATEST = Decimal(datetime(3000, 1, 1, tzinfo=UTC).timestamp())
"""A later point in time is none: steps add a few days to one, and a time in milliseconds would never be over."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
_KINDS = {
    str: "a text",
    Decimal: "a number",
    bool: "true or false",
    set: "a set of texts",
    dict: "a map",
    list: "a list",
}


def unreadable(what: str, error: Exception) -> BugError:
    """The error about an item that cannot be read. It names the item, what is wrong with it, and the remedy."""
    problem = f"there is no attribute {error}" if isinstance(error, KeyError) else str(error)
    return BugError(f"{what} cannot be read: {problem}. Correct the attribute in the ledger table, or delete the item.")


def text(values: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A text; without a default it must be there."""
    value = values[name] if default is None else _or(values.get(name), default)
    if type(value) is not str:
        raise _wrong(name, value, str)
    return value


def maybe_text(values: Mapping[str, Any], name: str) -> str | None:
    """A text, where there is one."""
    return None if values.get(name) is None else text(values, name)


def flag(values: Mapping[str, Any], name: str, *, default: bool | None = None) -> bool:
    """True or false; without a default it must be there."""
    value = values[name] if default is None else _or(values.get(name), default)
    if type(value) is not bool:
        raise _wrong(name, value, bool)
    return value


def whole(values: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """A whole number; without a default it must be there."""
    value = values[name] if default is None else _or(values.get(name), Decimal(default))
    if type(value) is not Decimal:
        raise _wrong(name, value, Decimal)
    if value != value.to_integral_value():
        raise ValueError(f"{name} is no whole number")
    return int(value)


def maybe_whole(values: Mapping[str, Any], name: str) -> int | None:
    """A whole number, where there is one."""
    return None if values.get(name) is None else whole(values, name)


def count(values: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """A whole number that counts something. A negative one would make room that is not there."""
    found = whole(values, name, default)
    if found < 0:
        raise ValueError(f"{name} is less than 0")
    return found


def at(values: Mapping[str, Any], name: str) -> datetime:
    """A point in time."""
    value = values[name]
    if type(value) is not Decimal:
        raise _wrong(name, value, Decimal)
    try:
        return moment(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def maybe_at(values: Mapping[str, Any], name: str) -> datetime | None:
    """A point in time, where there is one."""
    return None if values.get(name) is None else at(values, name)


def texts(values: Mapping[str, Any], name: str) -> frozenset[str]:
    """A set of texts; an empty one has no attribute."""
    value = _or(values.get(name), set())
    if type(value) is not set:
        raise _wrong(name, value, set)
    return frozenset(value)


def mapping(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A map; an empty one has no attribute."""
    value = _or(values.get(name), {})
    if type(value) is not dict:
        raise _wrong(name, value, dict)
    return value


def members(values: Mapping[str, Any], name: str) -> list[Any]:
    """A list; an empty one has no attribute."""
    value = _or(values.get(name), [])
    if type(value) is not list:
        raise _wrong(name, value, list)
    return value


def moment(value: Decimal) -> datetime:
    """The point in time so many seconds after 1970.

    Raises:
        ValueError: it is no such number.
    """
    if not 0 <= value < LATEST:
        raise ValueError(f"{value:.3} seconds since 1970 are no time that the stack writes")
    return EPOCH + int(value.scaleb(6)) * MICROSECOND


def _or(value: Any, default: Any) -> Any:  # noqa: ANN401  (any attribute)
    """What a person wrote as null is nothing."""
    return default if value is None else value


def _wrong(name: str, value: object, wanted: type) -> TypeError:
    kind = f"of type {value.kind}" if isinstance(value, Unread) else _KINDS.get(type(value), "null")
    return TypeError(f"{name} is {kind}, not {_KINDS[wanted]}")
