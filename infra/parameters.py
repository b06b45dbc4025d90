"""docs/reference/parameters.md, from template.yaml: each parameter, its default, its values, when a change is felt."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.effects import effects
from infra.template_yaml import loads

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "parameters.md"
SPECIFICATION = ROOT / "scripts" / "agent_stack_cli" / "parameters.json"
KEPT = (
    "Type",
    "Default",
    "AllowedValues",
    "AllowedPattern",
    "ConstraintDescription",
    "MinValue",
    "MaxValue",
    "MaxLength",
)

INTRODUCTION = (
    "- *new VMs*: running VMs keep what they were launched with, and VMs launched from then on have the new value;",
    "you do not name keep their values. `agent-stack params` shows the values of a deployment.",
    "",
    "**Takes effect**, once the deployment has ended:",
    "",
    "- *at once*: both functions, alarms or roles have the new value;",
    "- *new VMs*: VMs that run keep what they were launched with, and VMs launched from then on have the new value;",
    "- *replaces*: CloudFormation makes new ones of the named resources, then removes the old ones.",
)
NAMED = 3
"""How many replaced resources a row names."""


def page(template: str) -> str:
    """The page's text."""
    parsed: dict[str, Any] = loads(template)
    parameters: dict[str, Any] = parsed["Parameters"]
    affected = effects(parsed, beside=ROOT)
    lines = ["# Parameters", "", *INTRODUCTION, ""]
    for group in parsed["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]:
        lines += [f"## {group['Label']['default']}", "", "| Parameter | Default | Allowed | Takes effect | |"]
        lines.append("|---|---|---|---|---|")
        for name in group["Parameters"]:
            lines.append(_row(name, parameters[name], takes_effect(affected[name])))
        lines.append("")
    return "\n".join(lines)


def specification(template: str) -> str:
    """The parameters as the operator's command and scripts/deploy read them, without a parser of YAML."""
    parsed: dict[str, Any] = loads(template)
    affected = effects(parsed, beside=ROOT)
    described = {
        name: {
            **{key: _plain(value) for key, value in parameter.items() if key in KEPT},
            "Description": " ".join(parameter.get("Description", "").split()),
            "Affects": affected[name],
        }
        for name, parameter in parsed["Parameters"].items()
    }
    return json.dumps(described, indent=1) + "\n"


def takes_effect(affected: Mapping[str, list[str]]) -> str:
    """When a change is felt, by the strongest of its effects."""
    if replaced := affected.get("replaces"):
        more = len(replaced) - NAMED
        return f"replaces {', '.join(replaced[:NAMED])}" + (f" and {more} more" if more > 0 else "")
    return "new VMs" if "new_vms" in affected else "at once"


def _plain(value: Any) -> Any:  # noqa: ANN401  (text, a number or a list)
    """Without the line numbers that the parser keeps."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, str) else value


def ungrouped(template: str) -> set[str]:
    """Parameters that the page, and CloudFormation's own form, would not show in a group."""
    parsed: dict[str, Any] = loads(template)
    groups = parsed["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    return set(parsed["Parameters"]) - {name for group in groups for name in group["Parameters"]}


def _row(name: str, parameter: dict[str, Any], when: str) -> str:
    default = parameter.get("Default")
    shown = "required" if default is None else f"`{default}`" if default != "" else "empty"
    about = " ".join(parameter.get("Description", "").split())
    return f"| `{name}` | {shown} | {_allowed(parameter)} | {when} | {about} |"


def _allowed(parameter: dict[str, Any]) -> str:
    if "AllowedValues" in parameter:
        return ", ".join(f"`{value}`" for value in parameter["AllowedValues"])
    if "ConstraintDescription" in parameter:
        return str(parameter["ConstraintDescription"])
    lowest, highest = parameter.get("MinValue"), parameter.get("MaxValue")
    if lowest is not None and highest is not None:
        return f"{lowest} to {highest}"
    return f"{lowest} or more" if lowest is not None else ""
