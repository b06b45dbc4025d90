"""infra/observability.yaml as CloudFormation would make it of some parameters: its own functions worked out."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from infra.template_yaml import loads

TEMPLATE = Path(__file__).resolve().parents[3] / "infra" / "observability.yaml"
REGION = "eu-central-1"
PARAMETERS = {
    "Deployment": "stack",
    "Dispatcher": "stack-dispatcher",
    "Tracker": "stack-tracker",
    "DispatcherLogs": "/agent-stack/stack/dispatcher",
    "TrackerLogs": "/agent-stack/stack/tracker",
    "LedgerTable": "stack-ledger",
    "FailedEventsQueue": "stack-failed-events",
}


@cache
def _read(text: str) -> dict[str, Any]:
    template: dict[str, Any] = json.loads(json.dumps(loads(text)))
    return template


class Rendered:
    """The resources that are made."""

    def __init__(self, **parameters: str) -> None:
        template = _read(TEMPLATE.read_text())
        defaults = {name: one["Default"] for name, one in template["Parameters"].items() if "Default" in one}
        self._conditions: Mapping[str, Any] = template["Conditions"]
        self._values: dict[str, str] = {
            "AWS::Region": REGION,
            "AWS::AccountId": "123456789012",
            "AWS::Partition": "aws",
            **{name: str(value) for name, value in {**defaults, **PARAMETERS, **parameters}.items()},
        }
        self.resources: dict[str, dict[str, Any]] = {
            name: {"Type": resource["Type"], "Properties": self._of(resource["Properties"])}
            for name, resource in template["Resources"].items()
            if "Condition" not in resource or self._holds(resource["Condition"])
        }

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Properties by name of the resources of that type, such as `CloudWatch::Alarm`."""
        return {name: one["Properties"] for name, one in self.resources.items() if one["Type"] == f"AWS::{kind}"}

    @property
    def widgets(self) -> list[dict[str, Any]]:
        """The dashboard's."""
        (dashboard,) = self.of_type("CloudWatch::Dashboard").values()
        widgets: list[dict[str, Any]] = json.loads(dashboard["DashboardBody"])["widgets"]
        return widgets

    def _holds(self, name: str) -> bool:
        return bool(self._of(self._conditions[name]))

    def _of(self, node: Any) -> Any:  # noqa: ANN401  (whatever a template holds)
        match node:
            case list():
                done: Any = [self._of(one) for one in node]
            case {"Ref": name, **others} if not others:
                done = self._values.get(name, f"arn:aws:sns:{REGION}:123456789012:{name}")
            case {"Fn::Sub": [text, named]}:
                own = self._of(named)
                done = re.sub(r"\$\{([^}]+)\}", lambda found: str(own.get(found[1], self._named(found[1]))), text)
            case {"Fn::Sub": text}:
                done = re.sub(r"\$\{([^}]+)\}", lambda found: self._named(found.group(1)), text)
            case {"Fn::If": [condition, then, otherwise]}:
                done = self._of(then if self._holds(condition) else otherwise)
            case {"Fn::Equals": [one, other]}:
                done = str(self._of(one)) == str(self._of(other))  # CloudFormation compares texts
            case {"Fn::Not": [one]}:
                done = not self._of(one)
            case dict():
                done = {key: self._of(value) for key, value in node.items()}
            case _:
                done = node
        return done

    def _named(self, name: str) -> str:
        return self._values.get(name, f"arn:aws:cloudwatch:{REGION}:123456789012:alarm:{name}")
