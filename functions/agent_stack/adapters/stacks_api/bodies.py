"""The body of an answer, within a bounded size, also where a small body decompresses into a large one."""

import zlib
from collections.abc import Iterator

import httpx

_PLAIN = frozenset({"", "identity"})
_COMPRESSED = frozenset({"gzip", "x-gzip", "deflate"})
_EITHER_HEADER = zlib.MAX_WBITS | 32  # zlib finds out by itself which of the formats it is


class UnreadableBodyError(ValueError):
    """The body is no answer: too large, cut, or compressed in a way that we did not ask for."""


def body_parts(response: httpx.Response, most_bytes: int) -> Iterator[bytes]:
    """The body, piece by piece; never more than `most_bytes` of it, compressed or not.

    Raises:
        UnreadableBodyError: see the class.
        httpx.HTTPError: the connection failed.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if response.is_stream_consumed:  # made from a text, by a transport without sockets: there is nothing to decode
        parts = response.iter_bytes()
    elif encoding in _PLAIN:
        parts = response.iter_raw()
    elif encoding in _COMPRESSED:
        parts = _decompressed(response.iter_raw(), most_bytes)
    else:
        raise UnreadableBodyError(f"is encoded as {encoding[:40]!r}")
    size = 0
    for part in parts:
        size += len(part)
        if size > most_bytes:
            raise UnreadableBodyError(f"is larger than {most_bytes} bytes")
        yield part


def _decompressed(parts: Iterator[bytes], most_bytes: int) -> Iterator[bytes]:
    """One layer taken off. Each piece is no larger than `most_bytes` and one more, which the caller then refuses."""
    decoder = zlib.decompressobj(_EITHER_HEADER)
    try:
        for part in parts:
            yield decoder.decompress(part, most_bytes + 1)
            if decoder.unconsumed_tail:
                raise UnreadableBodyError(f"is larger than {most_bytes} bytes")
    except zlib.error as error:
        raise UnreadableBodyError(f"cannot be decompressed: {error}") from None
    if not decoder.eof:
        raise UnreadableBodyError("was cut")
