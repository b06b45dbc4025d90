"""What each fault makes of an answer: the pieces that the proxy writes in its place."""

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.simulator.true_runs.faults import Fault, Planned

LONGEST_SECONDS = 3.0
"""Of one slow answer. Clients wait for longer than that, so that a slow answer is an answer."""

PIECES = 20
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NONSENSE = b'{"jobs": 3, "Item": [], "Table": null}'


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes to write at once, how long to wait after them, and whether the connection ends then."""

    content: bytes = b""
    pause_seconds: float = 0.0
    ends: bool = False
    resets: bool = False


END = Piece(ends=True)
RESET = Piece(ends=True, resets=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer of the service; its headers are without those of the connection."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    def head(self, length: int) -> bytes:
        """The first lines, which promise a body of that length."""
        lines = [f"HTTP/1.1 {self.status} Answered", *(f"{name}: {value}" for name, value in self.headers)]
        return ("\r\n".join([*lines, f"Content-Length: {length}"]) + "\r\n\r\n").encode("latin-1")

    def whole(self) -> bytes:
        """All of it."""
        return self.head(len(self.body)) + self.body


def spoilt(planned: Planned, answer: Answer | None) -> Iterator[Piece]:
    """The pieces.

    Args:
        answer: None where the service was not asked, or gave none.
    """
    match planned.fault:
        case Fault.UNAVAILABLE:
            yield Piece(_page(503).whole())
        case Fault.RESET | Fault.RESET_AFTERWARDS:
            yield RESET
        case _ if answer is None:
            yield END
        case Fault.BAD_GATEWAY:
            yield Piece(_page(502).whole())
        case Fault.DELAYED | Fault.DRIPPED | Fault.CONTINUED:
            yield from _slow(planned.fault, LONGEST_SECONDS * planned.amount, answer)
        case _:
            yield from _damaged(planned.fault, answer)


def _slow(fault: Fault, seconds: float, answer: Answer) -> Iterator[Piece]:
    whole = answer.whole()
    match fault:
        case Fault.DELAYED:
            yield Piece(pause_seconds=seconds)
            yield Piece(whole)
        case Fault.CONTINUED:
            yield from [Piece(CONTINUE, seconds / PIECES)] * PIECES
            yield Piece(whole)
        case _:
            size = max(1, len(whole) // PIECES)
            for begin in range(0, len(whole), size):
                yield Piece(whole[begin : begin + size], seconds / PIECES)


def _damaged(fault: Fault, answer: Answer) -> Iterator[Piece]:
    half = answer.body[: len(answer.body) // 2]
    match fault:
        case Fault.CUT:
            yield Piece(answer.head(len(answer.body)) + half, ends=True)
        case Fault.TRUNCATED:
            yield Piece(answer.head(len(half)) + half)
        case Fault.COMPRESSED_TWICE:
            headers = [*answer.headers, ("Content-Encoding", "gzip, gzip")]
            packed = gzip.compress(gzip.compress(answer.body))
            yield Piece(Answer(status=answer.status, headers=headers, body=packed).whole())
        case Fault.NONSENSE:
            yield Piece(Answer(status=200, headers=answer.headers, body=NONSENSE).whole())
        case _:  # the answer is lost
            yield END


def _page(status: int) -> Answer:
    """What a gateway says."""
    page = b"<html><body><h1>%d</h1></body></html>" % status
    return Answer(status=status, headers=[("Content-Type", "text/html")], body=page)
