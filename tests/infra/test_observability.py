"""How a deployment is watched: template, code and runbook name the same metrics, alarms and messages."""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import boto3
import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs
from moto import mock_aws

from agent_stack.domain.measures import NAMESPACE, SPLIT, Metric, dimensions
from agent_stack_cli.parameter_rules import problems
from agent_stack_cli.prices import REGIONS, usd
from infra.template_yaml import loads
from infra.user_data import ROOT
from tests.simulator.cloud.catalogue import catalogue
from tests.simulator.deployment import translated_template
from tests.simulator.simulation.nature import Nature, plain_ec2
from tests.simulator.watching.metrics import Identity, identity, named
from tests.simulator.watching.pictures import COLOURS
from tests.simulator.watching.template import REGION, TEMPLATE, Rendered
from tests.simulator.watching.world import WatchedUniverse

OWN_BY_AWS = {("AWS/Lambda", name) for name in ("Errors", "Throttles", "AsyncEventsDropped")} | {
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
    ("AWS/DynamoDB", "ReadThrottleEvents"),
    ("AWS/DynamoDB", "WriteThrottleEvents"),
}
LOGS, ALARMS, METRICS = (
    (ROOT / "docs" / page).read_text() for page in ("reference/logs.md", "operations/alarms.md", "reference/metrics.md")
)
LEVELS = {
    "info": "info",
    "passing": "info",
    "serious": "error",
    "warning": "warning",
    "error": "error",
    "_put": "info",
    "_note": "info",
    "write_beside": "info",
    "log": "error",
}
"""Of what is logged by these, directly or through a method of the step's own."""


def ours() -> set[Identity]:
    return {(NAMESPACE, metric.value, frozenset(named.items())) for metric, named in dimensions("stack")}


@cache
def shown() -> dict[Identity, set[str]]:
    """Every metric of the dashboard with the statistics it is shown by."""
    metrics: dict[Identity, set[str]] = {}
    for widget in Rendered().widgets:
        for metric in widget["properties"].get("metrics", ()):
            if "expression" not in metric[-1]:
                metrics.setdefault(identity(metric), set()).add(metric[-1]["stat"])
    return metrics


def alarms() -> dict[str, dict[str, Any]]:
    """All that there can be."""
    return Rendered(DailySpendAlarmUsd="20").of_type("CloudWatch::Alarm")


def alarmed() -> set[Identity]:
    found = set()
    for alarm in alarms().values():
        parts = [one["MetricStat"]["Metric"] for one in alarm.get("Metrics", ()) if "MetricStat" in one] or [alarm]
        found |= {(one["Namespace"], one["MetricName"], named(one["Dimensions"])) for one in parts}
    return found


@cache
def sources() -> dict[str, ast.Module]:
    return {str(path): ast.parse(path.read_text()) for path in (ROOT / "functions").rglob("*.py")}


@cache
def logged() -> tuple[tuple[str, str], ...]:
    """Every message that the code can log, with its level."""
    return tuple(_logged())


def _logged() -> Iterator[tuple[str, str]]:
    for tree in sources().values():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
                continue
            level = LEVELS.get(node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id)
            if level is None:
                continue
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value, level


# --- the template ---


def test_it_is_valid() -> None:
    assert [str(match) for match in lint(TEMPLATE.read_text(), config=ManualArgs(regions=[REGION]))] == []


def test_it_takes_what_it_is_given() -> None:
    stack = translated_template(region=REGION)["Resources"]["Observability"]["Properties"]
    wanted = loads(TEMPLATE.read_text())["Parameters"]
    assert set(stack["Parameters"]) == set(wanted)
    assert stack["TemplateURL"].endswith(TEMPLATE.name)


def test_alarms_go_to_one_topic_which_the_operator_may_give() -> None:
    topic = "arn:aws:sns:eu-central-1:123456789012:pagers"
    made, given = Rendered(), Rendered(AlarmTopicArn=topic)
    for rendered in (made, given):
        goals = [alarm["AlarmActions"] + alarm["OKActions"] for alarm in rendered.of_type("CloudWatch::Alarm").values()]
        assert {goal for each in goals for goal in each} == (
            {topic} if rendered is given else {f"arn:aws:sns:{REGION}:123456789012:Topic"}
        )
    assert ("Topic" in made.resources, "Topic" in given.resources) == (True, False)
    assert "Email" not in made.resources
    (email,) = Rendered(AlarmTopicArn=topic, AlarmEmail="me@example.com").of_type("SNS::Subscription").values()
    assert email == {"TopicArn": topic, "Protocol": "email", "Endpoint": "me@example.com"}


def test_every_other_parameter_reaches_something() -> None:
    assert Rendered(OldestJobAlarmSeconds="77").resources["JobsWait"]["Properties"]["Threshold"] == "77"
    assert "DailySpend" not in Rendered().resources
    assert "DailySpend" not in json.dumps(Rendered(DailySpendAlarmUsd="0").widgets)
    spend = Rendered(DailySpendAlarmUsd="20", VcpuHourUsd="0.5")
    assert spend.resources["DailySpend"]["Properties"]["Threshold"] == "20"
    assert spend.resources["DailySpend"]["Properties"]["Metrics"][0]["Expression"] == "m1 / 3600 * 0.5"
    assert spend.widgets[1]["properties"]["alarms"][-1].endswith("DailySpend.Arn")
    assert "cost more than 20 USD" in spend.resources["DailySpend"]["Properties"]["AlarmDescription"]
    assert spend.resources["DailySpend"]["Properties"]["ComparisonOperator"] == "GreaterThanThreshold"
    assert not Rendered(Dashboard="false").of_type("CloudWatch::Dashboard")
    for name in ("FailedEventsQueue", "Dispatcher", "Tracker", "DispatcherLogs", "TrackerLogs", "LedgerTable"):
        assert "of-my-own" in json.dumps(Rendered(**{name: "of-my-own"}).resources), name


@pytest.mark.parametrize("usd", ["0", "0.5", "0.50", "0.0001", "1", "50", "50.25", "999999.9999", "1000000"])
def test_every_daily_spend_but_zero_has_an_alarm(usd: str) -> None:
    assert not list(problems({"DailySpendAlarmUsd": usd}))
    assert ("DailySpend" in Rendered(DailySpendAlarmUsd=usd).resources) == (float(usd) > 0)


@pytest.mark.parametrize("usd", ["0.0", "00", "0.", ".0", "-0", "0e1", "0.00000", "-1", "", "off", "1000001"])
def test_another_way_to_write_zero_is_refused_because_it_would_make_an_alarm_at_zero(usd: str) -> None:
    (problem,) = problems({"DailySpendAlarmUsd": usd})
    assert "0, which makes no alarm" in problem


def test_a_vcpu_hour_costs_what_the_price_module_says_unless_somebody_says_otherwise() -> None:
    dearest = max(usd(region)["m7i.large_hour"] for region in REGIONS) / catalogue()["m7i.large"].vcpus
    for template in (translated_template(region=REGION), loads(TEMPLATE.read_text())):
        assert float(template["Parameters"]["VcpuHourUsd"]["Default"]) == pytest.approx(dearest, rel=0.01)


def test_tracing_is_lambda_s_own_and_off() -> None:
    resources = translated_template(region=REGION)["Resources"]
    for function in ("DispatcherFunction", "TrackerFunction"):
        mode = resources[function]["Properties"]["TracingConfig"]["Mode"]
        assert mode == {"Fn::If": ["HasTracing", "Active", "PassThrough"]}
    assert resources["TracingPolicy"]["Condition"] == "HasTracing"
    assert translated_template(region=REGION)["Parameters"]["Tracing"]["Default"] == "false"
    imported = {
        alias.name
        for tree in sources().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in (*node.names, ast.alias(name=getattr(node, "module", "") or ""))
    }
    assert not [name for name in imported if "xray" in name or "tracing" in name or name == "Tracer"]


# --- metrics: code, dashboard and alarms ---


def test_every_metric_that_is_shown_or_alarmed_is_one_that_is_written() -> None:
    for each in (*shown(), *alarmed()):
        assert each in ours() or (each[0], each[1]) in OWN_BY_AWS, each


def test_every_metric_that_is_written_is_shown() -> None:
    assert ours() - set(shown()) == set()


def test_every_name_of_the_closed_set_is_written_somewhere_and_every_dimension_it_has() -> None:
    used = {
        node.attr
        for path, tree in sources().items()
        if not path.endswith("measures.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Metric"
    }
    assert used == set(Metric.__members__)
    calls = [
        node
        for path, tree in sources().items()
        if any(room in path for room in ("/dispatcher/", "/tracker/", "adapters/stacks_api"))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and node.args
        and isinstance(node.args[0], ast.Attribute)
        and ast.unparse(node.args[0]).startswith("Metric.")
    ]
    for call in calls:
        metric = Metric[ast.unparse(call.args[0]).partition(".")[2]]
        split = any(keyword.arg == "of" for keyword in call.keywords)
        assert split == (metric in SPLIT), ast.unparse(call)


@pytest.mark.parametrize("metric", list(Metric))
def test_a_metric_is_shown_by_a_statistic_that_means_something(metric: Metric) -> None:
    """Counts are sums; what is there now is never summed up; of durations each counts."""
    methods = {
        node.func.attr
        for tree in sources().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.args
        and ast.unparse(node.args[0]) == f"Metric.{metric.name}"
    }
    statistics = set().union(*(stats for each, stats in shown().items() if each[:2] == (NAMESPACE, metric.value)))
    if methods <= {"count"}:
        assert statistics == {"Sum"}
    elif methods <= {"peak", "level"}:
        assert statistics == {"Maximum"}
    else:
        assert methods == {"seconds"}
        assert statistics <= {"p50", "p90", "Maximum", "Average"}


def test_how_many_metrics_are_billed_is_known() -> None:
    """A metric more is a decision, and a line in the runbook."""
    every = len(ours())
    assert every == 64
    assert f"everything happens that can has {every}" in " ".join(METRICS.split())


def test_an_idle_minute_costs_little() -> None:
    nature = Nature(ec2=plain_ec2(), watched=False)
    simulation = WatchedUniverse(seed=1, nature=nature, settings={"IDLE_POLL_SECONDS": "2"})
    simulation.run(120)
    before = simulation.metrics.bytes_written + simulation.logs.bytes_written
    simulation.run(300)
    assert (simulation.metrics.bytes_written + simulation.logs.bytes_written - before) / 5 < 2_000
    assert len(simulation.written()) == 5
    assert "an idle deployment has 5" in " ".join(METRICS.split())
    assert "idle minute writes less than 2 KB" in " ".join(METRICS.split())


# --- the dashboard ---


def test_each_row_begins_with_the_question_that_it_answers() -> None:
    questions = [
        widget["properties"]["markdown"].partition("\n")[0].removeprefix("## ")
        for widget in Rendered().widgets
        if widget["type"] == "text" and widget["properties"]["markdown"].startswith("## ")
    ]
    assert questions == [
        "Is it alive?",
        "How long do jobs wait, and where does the time go?",
        "How many VMs?",
        "What fails, and why?",
        "What is left of the budgets?",
        "Which VMs were left over?",
    ]


def test_widgets_neither_overlap_nor_stand_out() -> None:
    taken: set[tuple[int, int]] = set()
    for widget in Rendered().widgets:
        cells = {
            (x, y)
            for x in range(widget["x"], widget["x"] + widget["width"])
            for y in range(widget["y"], widget["y"] + widget["height"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_every_expression_is_of_a_metric_of_its_widget() -> None:
    for widget in Rendered().widgets:
        metrics = [metric[-1] for metric in widget["properties"].get("metrics", ())]
        hidden = {one["id"] for one in metrics if one.get("visible") is False}
        assert {f"FILL({one}, 0)" for one in hidden} == {one["expression"] for one in metrics if "expression" in one}


# --- alarms and the runbook ---


def test_each_alarm_has_its_paragraph_and_each_paragraph_its_alarm() -> None:
    described = {alarm["AlarmName"].removeprefix("stack-"): alarm["AlarmDescription"] for alarm in alarms().values()}
    part = ALARMS
    assert set(described) == set(re.findall(r"^### (\S+)$", part, re.MULTILINE))
    for name, description in described.items():
        assert description.endswith(f"See docs/operations/alarms.md#{name}")
        paragraph = part.split(f"### {name}\n")[1].split("### ")[0]
        assert re.findall(r"^\*\*(.+?)\*\*:", paragraph, re.MULTILINE) == ["Means", "Look at", "Do"]


def test_silence_is_an_alarm_and_nothing_else_is_by_saying_nothing() -> None:
    assert {name for name, alarm in alarms().items() if alarm["TreatMissingData"] != "notBreaching"} == {
        "DispatcherSilent",
        "TrackerSilent",
    }


def test_aws_takes_every_alarm_and_the_dashboard() -> None:
    """As far as moto judges them; CloudFormation's part of it knows neither."""
    session = boto3.Session(region_name=REGION, aws_access_key_id="a", aws_secret_access_key="b")
    with mock_aws():
        cloudwatch = session.client("cloudwatch")
        for alarm in alarms().values():
            cloudwatch.put_metric_alarm(**typed(alarm))
        (dashboard,) = Rendered().of_type("CloudWatch::Dashboard").values()
        cloudwatch.put_dashboard(**dashboard)
        assert len(cloudwatch.describe_alarms()["MetricAlarms"]) == len(alarms())
        kept = cloudwatch.get_dashboard(DashboardName=f"stack-{REGION}")["DashboardBody"]
        assert len(json.loads(kept)["widgets"]) == len(Rendered().widgets)


def typed(alarm: dict[str, Any]) -> dict[str, Any]:
    """Numbers as numbers: CloudFormation turns what a parameter gives as text."""
    return {name: float(value) if name == "Threshold" else value for name, value in alarm.items()}


# --- logs ---


def test_the_runbook_s_messages_are_those_that_the_code_can_log() -> None:
    table = LOGS.split("## Messages that need an operator")[1]
    told = set(re.findall(r"^\| `(\w+)` \| (\w+) \|", table, re.MULTILINE))
    worst: dict[str, str] = {}
    for message, level in logged():
        if level != "info" and worst.get(message) != "error":
            worst[message] = level
    assert told == set(worst.items())


def test_a_warning_is_something_that_a_person_should_do() -> None:
    """What a person has nothing to do about is INFO, in a table of its own."""
    passing, wanting = (
        LOGS.split(f"## Messages that {which}")[1].split("\n## ")[0] for which in ("need no action", "need an operator")
    )
    remedies = re.findall(r"^\| `(\w+)` \| warning \| .* \| (.+?) \|$", wanting, re.MULTILINE)
    assert remedies
    assert not [message for message, remedy in remedies if remedy.startswith("nothing")]
    levels = {message: {level for found, level in logged() if found == message} for message, _ in logged()}
    listed = re.findall(r"^\| `(\w+)` \|", passing, re.MULTILINE)
    assert {message for message in listed if levels.get(message) != {"info"}} == set()
    assert not set(listed) & {message for message, _ in remedies}


def test_failures_by_reason_shows_what_passes_by_itself_too() -> None:
    passing = LOGS.split("## Messages that need no action")[1].split("\n## ")[0]
    query = Rendered().of_type("Logs::QueryDefinition")["Failures"]["QueryString"]
    asked = re.search(r"^filter (.*) or message in (\[.*\])$", query, re.MULTILINE)
    assert asked is not None, query
    assert asked[1] == 'level in ["WARNING", "ERROR", "CRITICAL"]'
    assert set(json.loads(asked[2])) == set(re.findall(r"^\| `(\w+)` \|", passing, re.MULTILINE))
    assert len(query) <= 10_000  # source: the CloudWatch Logs API, PutQueryDefinition


def test_messages_are_constant_words() -> None:
    for message, _ in logged():
        assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", message), message


def test_queries_name_messages_and_keys_that_are_logged() -> None:
    messages = {message for message, _ in logged()}
    constants = {
        node.value
        for tree in sources().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    keys = {node.arg for tree in sources().values() for node in ast.walk(tree) if isinstance(node, ast.keyword)}
    queries = Rendered().of_type("Logs::QueryDefinition")
    assert {query["Name"].removeprefix("stack/") for query in queries.values()} == set(
        re.findall(r"^\| ([\w' ]+) \| (?:everything|what|which)", LOGS, re.MULTILINE)
    )
    for query in queries.values():
        text = re.sub(r"#.*", "", query["QueryString"])
        assert set(re.findall(r'"([a-z]+(?:_[a-z]+)+)"', text)) <= messages | constants
        given = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", re.sub(r'"[^"]*"', "", text)))
        named_here = set(re.findall(r" as (\w+)", text))
        steps = {f"{step.value}_seconds" for step in SPLIT[Metric.STEP_SECONDS][1]}
        assert given - named_here <= keys | steps, query["Name"]
        assert query["LogGroupNames"] == ["/agent-stack/stack/dispatcher", "/agent-stack/stack/tracker"]


def test_the_picture_of_the_dashboard_has_a_colour_for_each_line() -> None:
    for widget in Rendered(DailySpendAlarmUsd="20").widgets:
        assert len(widget["properties"].get("metrics", ())) <= 2 * len(COLOURS), widget["properties"].get("title")
        assert len([one for one in widget["properties"].get("metrics", ()) if "expression" in one[-1]]) <= len(COLOURS)
