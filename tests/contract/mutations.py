"""Answers as no service should give them: real ones cut, changed and put in the wrong place."""

import json
import re
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

WRONG: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    1e300,
    "",
    "x",
    "\ud800",
    "9" * 400,
    [],
    [None],
    {},
    {"S": 1},
    {"x": {"y": []}},
]
WRONG_TEXTS = ["", "x", "0", "-1", "9" * 400, "2026-13-45T99:00:00Z", "2026-01-01T00:00:00", "\u00e9", "true"]
PAGES = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"{",
    b"<html><body>Sign in</body></html>",
    b"<?xml version='1.0'?><html/>",
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b"<a>" * 10_000,
    b'{"message": null}',
    b'{"__type": 5}',
]


def _places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401  (any JSON)
    yield path
    if isinstance(node, dict):
        for name, part in node.items():
            yield from _places(part, (*path, name))
    elif isinstance(node, list):
        for number, part in enumerate(node):
            yield from _places(part, (*path, number))


def _changed(body: bytes, place: int, wrong: Any, drop: bool) -> bytes:  # noqa: ANN401, FBT001  (drawn)
    document = json.loads(body)
    places = list(_places(document))
    path = places[place % len(places)]
    if not path:
        return json.dumps(wrong).encode()
    holder = document
    for step in path[:-1]:
        holder = holder[step]
    if drop:
        del holder[path[-1]]
    else:
        holder[path[-1]] = wrong
    return json.dumps(document).encode()


def _cut(body: bytes, at: int) -> bytes:
    return body[: at % (len(body) + 1)]


def _overwritten(body: bytes, at: int, by: bytes) -> bytes:
    at %= len(body) + 1
    return body[:at] + by + body[at + len(by) :]


def _bytes_of(body: bytes) -> st.SearchStrategy[bytes]:
    numbers = st.integers(0, 100_000)
    return st.one_of(
        st.sampled_from(PAGES),
        st.builds(_cut, st.just(body), numbers),
        st.builds(_overwritten, st.just(body), numbers, st.binary(min_size=1, max_size=8)),
    )


def json_answers(body: bytes) -> st.SearchStrategy[bytes]:
    """Changes of a real answer in JSON."""
    changed = st.builds(_changed, st.just(body), st.integers(0, 10_000), st.sampled_from(WRONG), st.booleans())
    return st.one_of(changed, changed, _bytes_of(body))


_ELEMENT = re.compile(rb"<(\w+)>([^<]*)</\1>")
_BLOCK = re.compile(rb"<(\w+)>.*?</\1>", re.DOTALL)


def _text_changed(body: bytes, place: int, wrong: str) -> bytes:
    found = list(_ELEMENT.finditer(body))
    if not found:
        return body
    chosen = found[place % len(found)]
    return body[: chosen.start(2)] + wrong.encode() + body[chosen.end(2) :]


def _block_dropped(body: bytes, place: int) -> bytes:
    found = list(_BLOCK.finditer(body, body.find(b">", 40) + 1))
    if not found:
        return body
    chosen = found[place % len(found)]
    return body[: chosen.start()] + body[chosen.end() :]


def xml_answers(body: bytes) -> st.SearchStrategy[bytes]:
    """Changes of a real answer in XML."""
    numbers = st.integers(0, 10_000)
    changed = st.builds(_text_changed, st.just(body), numbers, st.sampled_from(WRONG_TEXTS))
    dropped = st.one_of(
        st.builds(_block_dropped, st.just(body), numbers),
        st.builds(lambda n: body.replace(found[n % len(found)], b""), numbers)
        if (found := [match.group(0) for match in _ELEMENT.finditer(body)])
        else st.just(body),
    )
    return st.one_of(changed, dropped, _bytes_of(body))
