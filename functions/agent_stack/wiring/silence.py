"""Telemetry that says nothing."""

from enum import StrEnum

from agent_stack.domain.measures import Metric
from agent_stack.ports import Field


class Silence:
    """The port `Telemetry` of one that only looks: what it finds is its answer, and raises no alarm."""

    def info(self, message: str, **fields: Field) -> None:
        """See the port."""

    def warning(self, message: str, **fields: Field) -> None:
        """See the port."""

    def error(self, message: str, **fields: Field) -> None:
        """See the port."""

    def carry(self, **fields: Field) -> None:
        """See the port."""

    def count(self, metric: Metric, value: int = 1, *, of: StrEnum | None = None) -> None:
        """See the port."""

    def level(self, metric: Metric, value: float, *, of: StrEnum | None = None) -> None:
        """See the port."""

    def peak(self, metric: Metric, value: float, *, of: StrEnum | None = None) -> None:
        """See the port."""

    def seconds(self, metric: Metric, value: float, *, of: StrEnum | None = None) -> None:
        """See the port."""

    def flush(self) -> None:
        """See `PowertoolsTelemetry`."""
