"""The port `Telemetry`: structured logs and embedded metrics, by AWS Lambda Powertools.

One log record is one line of JSON whose message is constant; what varies are its keys. One counter is one metric
of the deployment's namespace, with few dimensions, for each combination of them is billed as a metric of its own.
"""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit, single_metric
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

from agent_stack.ports import Field


class PowertoolsTelemetry:
    """Logs to standard output; metrics too, collected until `flush`."""

    def __init__(self, *, logger: Logger, namespace: str, deployment: str, function: str) -> None:
        self._logger = logger
        self._namespace = namespace
        self._dimensions = {"Deployment": deployment, "Function": function}
        self._metrics = self._fresh()

    def info(self, message: str, **fields: Field) -> None:
        """See the port."""
        self._logger.info(message, **self._shown(fields))

    def warning(self, message: str, **fields: Field) -> None:
        """See the port."""
        self._logger.warning(message, **self._shown(fields))

    def error(self, message: str, **fields: Field) -> None:
        """See the port."""
        self._logger.error(message, **self._shown(fields))

    def count(self, metric: str, value: int = 1, **dimensions: str) -> None:
        """See the port."""
        self._add(metric, MetricUnit.Count, value, dimensions)

    def seconds(self, metric: str, value: float, **dimensions: str) -> None:
        """See the port."""
        self._add(metric, MetricUnit.Seconds, value, dimensions)

    def flush(self) -> None:
        """Print what was collected; to be called at the end of each invocation."""
        if self._metrics.metric_set:
            self._metrics.flush_metrics()
            self._metrics = self._fresh()

    def _add(self, metric: str, unit: MetricUnit, value: float, dimensions: dict[str, str]) -> None:
        if not dimensions:
            self._metrics.add_metric(name=metric, unit=unit, value=value)
            return
        with single_metric(name=metric, unit=unit, value=value, namespace=self._namespace) as one:
            for name, text in {**self._dimensions, **dimensions}.items():
                one.add_dimension(name=name, value=text)

    def _fresh(self) -> AmazonCloudWatchEMFProvider:
        provider = AmazonCloudWatchEMFProvider(namespace=self._namespace)
        for name, value in self._dimensions.items():
            provider.add_dimension(name=name, value=value)
        return provider

    @staticmethod
    def _shown(fields: dict[str, Field]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if value is not None}
