"""Telemetry that a test can read."""

from collections import deque
from enum import StrEnum

from agent_stack.domain.measures import Metric
from agent_stack.ports import Field


class RecordedTelemetry:
    """Keeps what was logged and counted, in order."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, dict[str, Field]]] = []
        self.counts: dict[Metric, int] = {}
        self.peaks: dict[Metric, float] = {}
        self.carried: dict[str, Field] = {}
        self.measured: deque[tuple[Metric, StrEnum | None, float]] = deque(maxlen=100_000)  # worlds live for hours

    def info(self, message: str, **fields: Field) -> None:
        """See the port."""
        self.records.append(("INFO", message, fields))

    def warning(self, message: str, **fields: Field) -> None:
        """See the port."""
        self.records.append(("WARNING", message, fields))

    def error(self, message: str, **fields: Field) -> None:
        """See the port."""
        self.records.append(("ERROR", message, fields))

    def carry(self, **fields: Field) -> None:
        """See the port."""
        self.carried |= fields

    def count(self, metric: Metric, value: int = 1, *, of: StrEnum | None = None) -> None:
        """See the port."""
        self.counts[metric] = self.counts.get(metric, 0) + value
        self.measured.append((metric, of, value))

    def level(self, metric: Metric, value: float, *, of: StrEnum | None = None) -> None:
        """See the port."""
        self.measured.append((metric, of, value))

    def peak(self, metric: Metric, value: float, *, of: StrEnum | None = None) -> None:
        """See the port."""
        self.peaks[metric] = max(value, self.peaks.get(metric, 0))
        self.measured.append((metric, of, value))

    def seconds(self, metric: Metric, value: float, *, of: StrEnum | None = None) -> None:
        """See the port."""
        self.measured.append((metric, of, value))

    def messages(self, level: str | None = None) -> list[str]:
        """The messages of one level, or of all."""
        return [message for at, message, _ in self.records if level in {None, at}]
