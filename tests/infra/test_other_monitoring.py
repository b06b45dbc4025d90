"""docs/operations/other-monitoring.md names metrics, dimensions and statistics as they are written and shown."""

import json
import re
from collections.abc import Iterator
from typing import Any

from agent_stack.domain.measures import DEPLOYMENT, NAMESPACE, SPLIT, Metric
from infra.template_yaml import loads
from infra.user_data import ROOT
from tests.simulator.iam import Asked, Policies
from tests.simulator.watching.metrics import identity
from tests.simulator.watching.template import Rendered

PAGE = (ROOT / "docs" / "operations" / "other-monitoring.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| (?:`(\w+)`)? *\| ([\w, ]+) \|$", re.MULTILINE)


def listed() -> Iterator[dict[str, Any]]:
    """What the exporter is told to read."""
    (config,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    yield from loads(config)["metrics"]


def shown() -> dict[str, set[str]]:
    """The statistics by which the dashboard shows each metric of ours."""
    found: dict[str, set[str]] = {}
    for widget in Rendered().widgets:
        for metric in widget["properties"].get("metrics", ()):
            if "expression" not in metric[-1] and identity(metric)[0] == NAMESPACE:
                found.setdefault(identity(metric)[1], set()).add(metric[-1]["stat"])
    return found


def test_the_table_has_every_metric_with_its_dimension_and_its_statistics() -> None:
    rows = {name: (dimension, set(statistics.split(", "))) for name, dimension, statistics in ROW.findall(PAGE)}
    known = {metric.value: (SPLIT[metric][0] if metric in SPLIT else "", shown()[metric.value]) for metric in Metric}
    assert rows == known


def test_the_exporter_reads_metrics_that_there_are() -> None:
    every = list(listed())
    assert len(every) >= 5
    for one in every:
        metric = Metric(one["aws_metric_name"])
        split = (SPLIT[metric][0],) if metric in SPLIT else ()
        assert one["aws_namespace"] == NAMESPACE
        assert list(one["aws_dimensions"]) == [DEPLOYMENT, *split]
        assert set(one["aws_dimension_select"]) == {DEPLOYMENT}
        assert set(one["aws_statistics"]) <= shown()[metric.value]


def test_each_name_in_the_text_is_a_metric_or_the_namespace() -> None:
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    named = set(re.findall(r"`([A-Z][a-z0-9]+(?:[A-Z][a-z0-9]+)+)`", prose))
    assert named <= {NAMESPACE, *Metric, *(dimension for dimension, _ in SPLIT.values())}
    assert NAMESPACE in named


def test_the_exporter_s_policy_reads_metrics_and_nothing_else() -> None:
    (policy,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    known = Policies([json.loads(policy)])
    for action in ("GetMetricData", "GetMetricStatistics", "ListMetrics"):
        assert known.allow(Asked(action=f"cloudwatch:{action}", resource="*"))
    assert not known.allow(Asked(action="cloudwatch:PutMetricData", resource="*"))
