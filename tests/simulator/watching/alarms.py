"""Alarms as CloudWatch judges them: so many of the last periods beyond the threshold.

Source: the CloudWatch user guide, “Configuring how CloudWatch alarms treat missing data”. CloudWatch looks at some
periods more than the alarm names; with `missing`, an alarm whose periods all lack data changes to INSUFFICIENT_DATA. An
action follows a change of the state, and INSUFFICIENT_DATA is the state that a new alarm begins with.
"""

import operator
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from tests.simulator.watching.metrics import MetricStore, named

LOOK = timedelta(minutes=1)
"""How often CloudWatch judges an alarm on one long period: the period ends when it looks. Source: the user guide,
“Alarm evaluation”."""

BREACHES: Mapping[str, Callable[[float, float], bool]] = {
    "LessThanThreshold": operator.lt,
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
}

_SCALED = re.compile(r"m1( / (?P<divisor>[\d.]+))?( \* (?P<factor>[\d.]+))?")
"""The one form of metric math that is played here."""

MORE_PERIODS = 2  # of the evaluation range; CloudWatch does not promise how many


def over_a_day(
    alarm: Mapping[str, Any], store: MetricStore, *, start: datetime, end: datetime
) -> list[tuple[datetime, float]]:
    """At each look, what an alarm on the sum of one metric, scaled, compares with its threshold."""
    scaled, metric = alarm["Metrics"]
    math = _SCALED.fullmatch(scaled["Expression"])
    assert math is not None, scaled
    asked = metric["MetricStat"]
    assert (asked["Stat"], alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == ("Sum", 1, 1)
    period = timedelta(seconds=int(asked["Period"]))
    identity = (asked["Metric"]["Namespace"], asked["Metric"]["MetricName"], named(asked["Metric"]["Dimensions"]))
    written = store.values.get(identity, [])
    looks, at = list[tuple[datetime, float]](), start
    while (at := at + LOOK) <= end:
        total = sum(value for when, value in written if at - period <= when < at)
        looks.append((at, total / float(math["divisor"] or 1) * float(math["factor"] or 1)))
    return looks


def rings(alarm: Mapping[str, Any], store: MetricStore, *, start: datetime, end: datetime) -> list[datetime]:
    """When that alarm is in alarm: the ends of the periods after which it is. Of alarms on one metric only."""
    if "Metrics" in alarm:
        threshold = float(alarm["Threshold"])
        breaches = BREACHES[alarm["ComparisonOperator"]]
        return [at for at, value in over_a_day(alarm, store, start=start, end=end) if breaches(value, threshold)]
    period = timedelta(seconds=int(alarm["Period"]))
    identity = (alarm["Namespace"], alarm["MetricName"], named(alarm["Dimensions"]))
    points = dict(store.series(identity, stat=alarm["Statistic"], period=period, start=start, end=end))
    threshold, breaches = float(alarm["Threshold"]), BREACHES[alarm["ComparisonOperator"]]
    if alarm["TreatMissingData"] == "missing" and alarm.get("InsufficientDataActions"):
        return _without_data(alarm, set(points), period, start=start, end=end)
    breaching: list[bool] = []
    ringing: list[datetime] = []
    at = start
    while at + period <= end:
        value = points.get(at)
        if value is None:
            breaching.append(alarm["TreatMissingData"] == "breaching")
        else:
            breaching.append(breaches(value, threshold))
        at += period
        if sum(breaching[-int(alarm["EvaluationPeriods"]) :]) >= int(alarm["DatapointsToAlarm"]):
            ringing.append(at)
    return ringing


def _without_data(
    alarm: Mapping[str, Any], points: set[datetime], period: timedelta, *, start: datetime, end: datetime
) -> list[datetime]:
    """When an alarm has changed to INSUFFICIENT_DATA, which takes a datapoint before."""
    looked_at = (int(alarm["EvaluationPeriods"]) + MORE_PERIODS) * period
    silent: list[datetime] = []
    at = start + period
    while at <= end:
        before = [point for point in points if point + period <= at]
        if before and max(before) + looked_at < at:
            silent.append(at)
        at += period
    return silent
