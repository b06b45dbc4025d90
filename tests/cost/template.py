"""What the template says of costs: its defaults, and how many of each billed thing it deploys."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cfnlint.decode.cfn_yaml import loads

from agent_stack.domain.measures import dimensions
from infra.user_data import ROOT, TEMPLATE
from tests.simulator.deployment import translated_template

_REGION = "eu-central-1"
FUNCTIONS = {"dispatcher": "DispatcherFunction", "tracker": "TrackerFunction"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A deployment with the template's defaults, but for the parameters given.

    Attributes:
        memory_mib: by function.
        schedules_per_minute: invocations that the schedules make.
        history_days: how long records of ended runs are kept.
        ledger_is_recoverable: whether its storage is billed for point-in-time recovery, too.
        things: how many of each type of resource are deployed, nested stacks included.
        alarm_metrics: the metrics that alarms look at, each of which is billed.
    """

    memory_mib: Mapping[str, int]
    idle_poll_seconds: float
    schedules_per_minute: int
    log_retention_days: int
    history_days: int
    ledger_is_recoverable: bool
    things: Mapping[str, int]
    alarm_metrics: int


def stack(**parameters: str) -> Stack:
    """Read the template.

    Raises:
        ValueError: it uses something that this does not understand.
    """
    template = translated_template(region=_REGION)
    values = {name: declared.get("Default", "") for name, declared in template["Parameters"].items()} | parameters
    resources = dict(_deployed(template, values))
    return Stack(
        memory_mib={
            function: int(_value(resources[name]["Properties"]["MemorySize"], values))
            for function, name in FUNCTIONS.items()
        },
        idle_poll_seconds=float(values["IdlePollSeconds"]),
        schedules_per_minute=sum(_per_minute(resource) for resource in resources.values()),
        log_retention_days=int(values["LogRetentionDays"]),
        history_days=int(values["HistoryDays"]),
        ledger_is_recoverable=_recoverable(resources["LedgerTable"]),
        things=Counter(resource["Type"] for resource in _all(resources, values)),
        alarm_metrics=sum(_metrics_of(resource) for resource in _all(resources, values)),
    )


def custom_metrics() -> int:
    """How many metrics the code may write; CloudWatch bills one only in hours in which it is written."""
    return len(tuple(dimensions("stack")))


def _all(resources: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for resource in resources.values():
        yield resource
        if resource["Type"] == "AWS::CloudFormation::Stack":
            path = ROOT / "infra" / Path(resource["Properties"]["TemplateURL"]).name
            nested = loads(path.read_text())
            given = resource["Properties"].get("Parameters", {})
            inner = {
                name: values.get(_reference(given.get(name)) or name, declared.get("Default", ""))
                for name, declared in nested.get("Parameters", {}).items()
            }
            yield from _all(dict(_deployed(nested, inner)), inner)


def _deployed(template: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    conditions = template.get("Conditions", {})
    for name, resource in template["Resources"].items():
        if "Condition" not in resource or _holds(conditions[resource["Condition"]], conditions, values):
            yield name, resource


def _holds(condition: Any, conditions: Mapping[str, Any], values: Mapping[str, Any]) -> bool:  # noqa: ANN401  (JSON)
    ((function, arguments),) = condition.items()
    match function:
        case "Fn::Equals":
            left, right = (_value(argument, values) for argument in arguments)
            return str(left) == str(right)
        case "Fn::Not":
            return not _holds(arguments[0], conditions, values)
        case "Fn::And":
            return all(_holds(argument, conditions, values) for argument in arguments)
        case "Fn::Or":
            return any(_holds(argument, conditions, values) for argument in arguments)
        case "Condition":
            return _holds(conditions[arguments], conditions, values)
    raise ValueError(f"a condition with {function}: tests/cost/template.py does not know it")


def _value(node: Any, values: Mapping[str, Any]) -> Any:  # noqa: ANN401  (JSON)
    if not isinstance(node, dict):
        return node
    ((function, arguments),) = node.items()
    match function:
        case "Ref":
            return values.get(arguments, arguments)
        case "Fn::Join":
            joined = _value(arguments[1], values)
            return arguments[0].join(str(joined).split(",") if isinstance(joined, str) else map(str, joined))
        case "Fn::Select":
            return _value(arguments[1], values)[int(arguments[0])]
        case "Fn::Split":
            return str(_value(arguments[1], values)).split(arguments[0])
    raise ValueError(f"a value by {function}: tests/cost/template.py does not know it")


def _reference(node: Any) -> str | None:  # noqa: ANN401  (JSON)
    return node.get("Ref") if isinstance(node, dict) else None


def _recoverable(table: Mapping[str, Any]) -> bool:
    specified = table["Properties"].get("PointInTimeRecoverySpecification", {})
    return bool(specified.get("PointInTimeRecoveryEnabled"))


def _metrics_of(resource: Mapping[str, Any]) -> int:
    """Of an alarm; nothing of what is none."""
    if resource["Type"] != "AWS::CloudWatch::Alarm":
        return 0
    return sum("MetricStat" in metric for metric in resource["Properties"].get("Metrics", ())) or 1


def _per_minute(resource: Mapping[str, Any]) -> int:
    if resource["Type"] != "AWS::Scheduler::Schedule":
        return 0
    expression = resource["Properties"]["ScheduleExpression"]
    if expression != "rate(1 minute)":
        raise ValueError(f"a schedule of {expression}: tests/cost/template.py knows one a minute")
    return 1


def volume_gb() -> int:
    """Of the default class: what each VM's disk is billed for."""
    found = re.search(r'"volume_gib": (\d+)', TEMPLATE.read_text())
    if found is None:
        raise ValueError("template.yaml's default class states no volume_gib")
    return int(found[1])
