"""Metrics as CloudWatch makes them of log lines in its embedded format, and keeps them a minute each."""

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

MAX_VALUES = 100  # of a metric on one line; source: the specification of the embedded metric format

Identity = tuple[str, str, frozenset[tuple[str, str]]]
"""Namespace, name and dimensions: what is billed as one metric."""


@dataclass(slots=True)
class MetricStore:
    """Every value that was written, by metric and in order of time."""

    values: dict[Identity, list[tuple[datetime, float]]] = field(default_factory=lambda: defaultdict(list))
    bytes_written: int = 0

    def take(self, line: str, at: datetime) -> bool:
        """Read one log line, written at that time; whether it was one of metrics."""
        try:
            entry: dict[str, Any] = json.loads(line)
        except ValueError:
            return False
        if "_aws" not in entry:
            return False
        self.bytes_written += len(line.encode()) + 1
        for directive in entry["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                dimensions = frozenset((name, entry[name]) for name in names)
                for metric in directive["Metrics"]:
                    written = entry[metric["Name"]]
                    values = written if isinstance(written, list) else [written]
                    assert len(values) <= MAX_VALUES, metric["Name"]
                    key = (directive["Namespace"], metric["Name"], dimensions)
                    self.values[key] += [(at, float(value)) for value in values]
        return True

    def series(
        self, identity: Identity, *, stat: str, period: timedelta, start: datetime, end: datetime
    ) -> list[tuple[datetime, float]]:
        """The statistic of each period that has values."""
        kept = sorted(self.values.get(identity, ()))
        points: list[tuple[datetime, float]] = []
        at = start
        while at < end:
            first, last = bisect_left(kept, (at, float("-inf"))), bisect_left(kept, (at + period, float("-inf")))
            if first < last:
                points.append((at, statistic(stat, [value for _, value in kept[first:last]])))
            at += period
        return points


def statistic(stat: str, values: Sequence[float]) -> float:
    """CloudWatch's word for it, of some values."""
    match stat:
        case "Sum":
            return sum(values)
        case "Average":
            return sum(values) / len(values)
        case "Maximum":
            return max(values)
        case _ if stat.startswith("p"):
            return sorted(values)[min(len(values) - 1, int(len(values) * float(stat[1:]) / 100))]
        case _:
            raise ValueError(f"no such statistic here: {stat}")


def identity(metric: Sequence[Any]) -> Identity:
    """Of a dashboard's metric: namespace, name, then dimensions in turn, and perhaps options."""
    words = [word for word in metric if not isinstance(word, Mapping)]
    return words[0], words[1], frozenset(zip(words[2::2], words[3::2], strict=True))


def named(dimensions: Iterable[Mapping[str, str]]) -> frozenset[tuple[str, str]]:
    """Dimensions as an alarm writes them."""
    return frozenset((one["Name"], one["Value"]) for one in dimensions)
