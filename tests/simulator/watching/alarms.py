"""Alarms as CloudWatch judges them: so many of the last periods beyond the threshold."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from tests.simulator.watching.metrics import MetricStore, named


def rings(alarm: Mapping[str, Any], store: MetricStore, *, start: datetime, end: datetime) -> list[datetime]:
    """When that alarm is in alarm: the ends of the periods after which it is. Of alarms on one metric only."""
    period = timedelta(seconds=int(alarm["Period"]))
    identity = (alarm["Namespace"], alarm["MetricName"], named(alarm["Dimensions"]))
    points = dict(store.series(identity, stat=alarm["Statistic"], period=period, start=start, end=end))
    threshold, below = float(alarm["Threshold"]), alarm["ComparisonOperator"] == "LessThanThreshold"
    breaching: list[bool] = []
    ringing: list[datetime] = []
    at = start
    while at + period <= end:
        value = points.get(at)
        if value is None:
            breaching.append(alarm["TreatMissingData"] == "breaching")
        else:
            breaching.append(value < threshold if below else value >= threshold)
        at += period
        if sum(breaching[-int(alarm["EvaluationPeriods"]) :]) >= int(alarm["DatapointsToAlarm"]):
            ringing.append(at)
    return ringing
