"""The port `Telemetry`: structured logs and embedded metrics, by AWS Lambda Powertools.

One log record is one line of JSON whose message is constant; what varies are its keys. Metrics are gathered over an
invocation and written at its end, one line for each set of dimensions: a cycle each second must not be a line each
second.
"""

import threading
from collections import defaultdict
from enum import StrEnum
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

from agent_stack.domain.measures import DEPLOYMENT, SPLIT, Metric
from agent_stack.ports import Field

_Key = tuple[Metric, StrEnum | None]


class PowertoolsTelemetry:
    """Logs to standard output; metrics too, collected until `flush`. Threads may measure at once."""

    def __init__(self, *, logger: Logger, namespace: str, deployment: str) -> None:
        self._logger = logger
        self._namespace = namespace
        self._deployment = deployment
        self._lock = threading.Lock()
        self._sums: dict[_Key, int] = defaultdict(int)
        self._levels: dict[_Key, float] = {}
        self._each: dict[_Key, list[float]] = defaultdict(list)

    def info(self, message: str, **fields: Field) -> None:
        """See the port."""
        self._logger.info(message, **self._shown(fields))

    def warning(self, message: str, **fields: Field) -> None:
        """See the port."""
        self._logger.warning(message, **self._shown(fields))

    def error(self, message: str, **fields: Field) -> None:
        """See the port."""
        self._logger.error(message, **self._shown(fields))
        self.count(Metric.ERRORS)

    def carry(self, **fields: Field) -> None:
        """See the port."""
        self._logger.append_keys(**self._shown(fields))

    def count(self, metric: Metric, value: int = 1, *, of: StrEnum | None = None) -> None:
        """See the port."""
        with self._lock:
            self._sums[metric, of] += value

    def level(self, metric: Metric, value: float, *, of: StrEnum | None = None) -> None:
        """See the port."""
        with self._lock:
            self._levels[metric, of] = value

    def peak(self, metric: Metric, value: float, *, of: StrEnum | None = None) -> None:
        """See the port."""
        with self._lock:
            self._levels[metric, of] = max(value, self._levels.get((metric, of), 0.0))

    def seconds(self, metric: Metric, value: float, *, of: StrEnum | None = None) -> None:
        """See the port."""
        with self._lock:
            self._each[metric, of].append(round(value, 3))

    def flush(self) -> None:
        """Write what was collected; to be called at the end of each invocation."""
        with self._lock:
            measured = [
                *((key, [float(value)]) for key, value in self._sums.items() if value),
                *((key, [round(value, 3)]) for key, value in self._levels.items() if value),
                *self._each.items(),
            ]
            self._sums, self._levels, self._each = defaultdict(int), {}, defaultdict(list)
        by_dimensions: dict[tuple[tuple[str, str], ...], list[tuple[Metric, list[float]]]] = defaultdict(list)
        for (metric, of), values in measured:
            by_dimensions[self._dimensions(metric, of)].append((metric, values))
        for dimensions, metrics in by_dimensions.items():
            self._write(dict(dimensions), metrics)

    def _dimensions(self, metric: Metric, of: StrEnum | None) -> tuple[tuple[str, str], ...]:
        own = (DEPLOYMENT, self._deployment)
        return (own,) if of is None else (own, (SPLIT[metric][0], of.value))

    def _write(self, dimensions: dict[str, str], metrics: list[tuple[Metric, list[float]]]) -> None:
        """One line; of a metric with more than a hundred values, which is as many as a line may have, several."""
        provider = AmazonCloudWatchEMFProvider(namespace=self._namespace, dimension_set=dimensions)
        provider.service = ""  # else POWERTOOLS_SERVICE_NAME would become a dimension, and no alarm would find it
        for metric, values in metrics:
            for value in values:
                provider.add_metric(name=metric.value, unit=metric.unit, value=value)
        if provider.metric_set:
            provider.flush_metrics()

    @staticmethod
    def _shown(fields: dict[str, Field]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if value is not None}
