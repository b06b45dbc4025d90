"""Texts cut to what the API takes, never through the middle of a character."""

ELLIPSIS = "…"


def crop_characters(text: str, limit: int) -> str:
    """The text in at most that many characters."""
    sendable = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be sent
    return sendable if len(sendable) <= limit else sendable[: limit - 1] + ELLIPSIS


def crop_bytes(text: str, limit: int) -> str:
    """The text in at most that many bytes of UTF-8."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode("utf-8")
    room = limit - len(ELLIPSIS.encode())
    return encoded[:room].decode("utf-8", "ignore") + ELLIPSIS
