"""JSON as a person wrote it: what a parser leaves out without a word, or stumbles over, is kept to be said."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


class UnreadableError(ValueError):
    """The text is no JSON that can be read. Its words are for an operator."""


class JsonObject(dict[str, Any]):
    """An object of the document.

    Attributes:
        twice: the keys that it gives more than once; a parser keeps the last of them.
    """

    twice: tuple[str, ...] = ()


def read_json(text: str) -> Any:  # noqa: ANN401  (whatever the document holds)
    """What the text says; its objects are `JsonObject`.

    A number that is too long to be read is infinity, which no member takes: the others can still be used.

    Raises:
        UnreadableError: it is no JSON.
    """
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_number)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise UnreadableError(f"the document is not JSON ({where})") from None
    except RecursionError:
        raise UnreadableError("the document is nested too deeply to be read") from None


def given_twice(value: object) -> Iterator[str]:
    """The paths of keys that are given twice anywhere in that part of a document."""
    for path, part in _parts("", value):
        yield from (f"{path}{key}" for key in getattr(part, "twice", ()))


def _parts(path: str, value: object) -> Iterator[tuple[str, object]]:
    """That part and all within it, each with what stands before its keys. No recursion, as nothing bounds the depth."""
    left: list[tuple[str, object]] = [(path, value)]
    while left:
        path, value = left.pop(0)
        yield path, value
        inner: Iterable[tuple[object, object]] = ()
        if isinstance(value, Mapping):
            inner = value.items()
        elif isinstance(value, list):
            inner = enumerate(value)
        left += [(f"{path}{key}.", part) for key, part in inner]


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    names = [_sendable(name) for name, _ in pairs]
    read = JsonObject(zip(names, (value for _, value in pairs), strict=True))
    read.twice = tuple(dict.fromkeys(name for name in names if names.count(name) > 1))
    return read


def _sendable(name: str) -> str:
    """Without a half of a character, which no log, no table and no page takes."""
    return name.encode("utf-8", "replace").decode()


def _number(digits: str) -> float:
    try:
        return int(digits)
    except ValueError:  # Python reads no number of more than 4,300 digits
        return float("inf")
