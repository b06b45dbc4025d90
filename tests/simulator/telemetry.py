"""Telemetry that a test can read."""

from agent_stack.ports import Field


class RecordedTelemetry:
    """Keeps what was logged and counted, in order."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, dict[str, Field]]] = []
        self.counts: dict[str, int] = {}

    def info(self, message: str, **fields: Field) -> None:
        """See the port."""
        self.records.append(("INFO", message, fields))

    def warning(self, message: str, **fields: Field) -> None:
        """See the port."""
        self.records.append(("WARNING", message, fields))

    def error(self, message: str, **fields: Field) -> None:
        """See the port."""
        self.records.append(("ERROR", message, fields))

    def count(self, metric: str, value: int = 1, **dimensions: str) -> None:
        """See the port."""
        self.counts[metric] = self.counts.get(metric, 0) + value

    def seconds(self, metric: str, value: float, **dimensions: str) -> None:
        """See the port."""

    def messages(self, level: str | None = None) -> list[str]:
        """The messages of one level, or of all."""
        return [message for at, message, _ in self.records if level in {None, at}]
