"""A job's log, put together from the chunks its agent uploads."""


class JobLog:
    """Chunks by sequence number: they arrive in any order, and again when an upload is repeated."""

    def __init__(self) -> None:
        self._chunks: dict[int, bytes] = {}
        self._text: str | None = ""

    def add(self, *, sequence: int, data: bytes) -> None:
        """Keep one uncompressed chunk; the same sequence again replaces it."""
        self._chunks[sequence] = data
        self._text = None

    @property
    def text(self) -> str:
        """The whole log in order; bytes that are not UTF-8 show as replacement characters."""
        if self._text is None:  # kept, because whoever watches a build asks for it again and again
            self._text = b"".join(self._chunks[sequence] for sequence in sorted(self._chunks)).decode(errors="replace")
        return self._text
