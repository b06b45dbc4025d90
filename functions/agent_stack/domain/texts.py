"""Texts for people, cut to what fits, never through the middle of a character; and made fit to be shown."""

import re

ELLIPSIS = "…"
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


def crop_characters(text: str, limit: int) -> str:
    """The text in at most that many characters."""
    sendable = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be sent
    return sendable if len(sendable) <= limit else sendable[: limit - 1] + ELLIPSIS


def crop_inside(text: str, limit: int) -> str:
    """The text in at most that many characters, without its middle: what happened stands first, and why stands last."""
    sendable = text.encode("utf-8", "replace").decode("utf-8")
    if len(sendable) <= limit:
        return sendable
    head = limit // 3
    return sendable[:head] + ELLIPSIS + sendable[len(sendable) - (limit - head - 1) :]


def crop_bytes(text: str, limit: int) -> str:
    """The text in at most that many bytes of UTF-8."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode("utf-8")
    room = limit - len(ELLIPSIS.encode())
    return encoded[:room].decode("utf-8", "ignore") + ELLIPSIS


def last_bytes(text: str, limit: int) -> str:
    """The end of the text in at most that many bytes of UTF-8."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode("utf-8")
    room = limit - len(ELLIPSIS.encode())
    return ELLIPSIS + encoded[len(encoded) - room :].decode("utf-8", "ignore") if room > 0 else ""


def printable(text: str) -> str:
    """Lines that somebody else wrote, without what would move a cursor, colour a page or turn its direction."""
    lines = _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join("".join(c if c.isprintable() else " " for c in line).rstrip() for line in lines)
