"""A job's log, put together from the chunks its agent uploads."""


class JobLog:
    """Chunks by sequence number: they arrive in any order, and again when an upload is repeated."""

    def __init__(self) -> None:
        self._chunks: dict[int, bytes] = {}

    def add(self, *, sequence: int, data: bytes) -> None:
        """Keep one uncompressed chunk; the same sequence again replaces it."""
        self._chunks[sequence] = data

    @property
    def text(self) -> str:
        """The whole log in order; bytes that are not UTF-8 show as replacement characters."""
        return b"".join(self._chunks[sequence] for sequence in sorted(self._chunks)).decode(errors="replace")
