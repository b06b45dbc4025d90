"""What a change of a parameter affects, derived from the template: functions at once, new VMs, or what is replaced.

Which properties make CloudFormation replace a resource is in the resource types' own schemas, which cfn-lint ships.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from infra.template_yaml import loads

REGION = "us-east-1"
_NAMED = re.compile(r"\$\{([A-Za-z0-9]+)\}")

Effects = dict[str, set[str]]


def effects(template: Mapping[str, Any], *, beside: Path) -> dict[str, dict[str, list[str]]]:
    """By parameter: `functions`, `new_vms`, `replaces`, `adds_or_removes` and `updates`, each with logical ids.

    Args:
        beside: the directory that nested templates are named from.
    """
    return {
        name: {kind: sorted(ids) for kind, ids in sorted(_of(name, template, beside).items()) if ids}
        for name in template["Parameters"]
    }


def _of(parameter: str, template: Mapping[str, Any], beside: Path) -> Effects:  # noqa: C901  (one case for each type)
    conditions = _conditions(parameter, template.get("Conditions", {}))
    found: Effects = {}

    def note(kind: str, logical_id: str) -> None:
        found.setdefault(kind, set()).add(logical_id)

    if any(True for _ in _paths(template.get("Globals", {}), parameter, conditions)):
        note("functions", "both functions")
    for logical_id, resource in template["Resources"].items():
        if resource.get("Condition") in conditions:
            note("adds_or_removes", logical_id)
        properties = resource.get("Properties", {})
        for path in _paths(properties, parameter, conditions):
            match resource["Type"]:
                case "AWS::Serverless::Function":
                    note("functions", logical_id)
                case "AWS::EC2::LaunchTemplate":
                    note("new_vms", logical_id)
                case "AWS::CloudFormation::Stack" if path[0] == "Parameters" and len(path) > 1:
                    nested = loads((beside / properties["TemplateURL"]).read_text())
                    for kind, ids in _of(str(path[1]), nested, beside).items():
                        for inner in ids:
                            note(kind, f"{logical_id}.{inner}")
                case kind if str(path[0]) in _create_only(str(kind)):
                    note("replaces", logical_id)
                case _:
                    note("updates", logical_id)
    return found


def _conditions(parameter: str, conditions: Mapping[str, Any]) -> frozenset[str]:
    """The conditions that depend on the parameter, directly or through another condition."""
    found: set[str] = set()
    while True:
        more = {
            name for name, body in conditions.items() if any(True for _ in _paths(body, parameter, frozenset(found)))
        }
        if more <= found:
            return frozenset(found)
        found |= more


def _paths(
    node: Any,  # noqa: ANN401  (a part of a template)
    parameter: str,
    conditions: frozenset[str],
    at: tuple[Any, ...] = (),
) -> Iterator[tuple[Any, ...]]:
    """Where a part of a template depends on the parameter, or on one of the conditions."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            own = at if str(key).startswith("Fn::") or key in ("Ref", "Condition") else (*at, key)
            if _depends(str(key), value, parameter, conditions):
                yield at or ("",)
            yield from _paths(value, parameter, conditions, own)
    elif isinstance(node, list):
        for part in node:
            yield from _paths(part, parameter, conditions, at)


def _depends(key: str, value: Any, parameter: str, conditions: frozenset[str]) -> bool:  # noqa: ANN401  (a template's part)
    """Whether this intrinsic function names the parameter, or asks for one of the conditions."""
    match key:
        case "Ref":
            return bool(value == parameter)
        case "Condition":
            return isinstance(value, str) and value in conditions
        case "Fn::If":
            return value[0] in conditions
        case "Fn::Sub":
            return parameter in _NAMED.findall(value if isinstance(value, str) else value[0])
        case _:
            return False


def _create_only(kind: str) -> frozenset[str]:
    """The properties whose change replaces a resource of that type."""
    if kind.startswith(("Custom::", "AWS::CloudFormation::")):
        return frozenset()
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema
    return frozenset(pointer.split("/")[2] for pointer in schema.get("createOnlyProperties", []))
