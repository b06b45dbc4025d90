"""The numbers that the resources of the templates state. Those of parameters stand in docs/reference/parameters.md."""

from collections.abc import Iterator
from typing import Any

from infra.template_yaml import loads
from tests.constants.written import ROOT

NAMES = ("template.yaml", "infra/network.yaml", "infra/observability.yaml", "infra/image.yaml")
"""Those that CloudFormation reads."""


def of_templates() -> Iterator[str]:
    """Each number by its place. Where widgets of a dashboard stand decides nothing."""
    for name in NAMES:
        for resource, one in loads((ROOT / name).read_text())["Resources"].items():
            if one["Type"] != "AWS::CloudWatch::Dashboard":
                yield from (f"{name} {resource}{line}" for line in _of(one))


def _of(value: Any, place: str = "") -> Iterator[str]:  # noqa: ANN401  (a template's own)
    if isinstance(value, dict):
        for key, one in value.items():
            if key != "Fn::Select":
                yield from _of(one, f"{place}.{key}")
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _of(one, f"{place}[{number}]")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield f"{place} = {value}"
