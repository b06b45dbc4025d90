"""Reads a CloudFormation template as plain data.

Not by cfn-lint's reader, because importing it takes seconds and every process of a test run would. cfn-lint still
judges the templates (scripts/lint-template, tests/infra/test_template.py), duplicate keys among them.
"""

from typing import Any

import yaml


class _Template(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the C one where there is one
    """Dates stay text, `!Name` becomes `Fn::Name`."""


def _intrinsic(loader: yaml.SafeLoader, suffix: str, node: Any) -> dict[str, Any]:  # noqa: ANN401  (one of three kinds)
    name = suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        text = loader.construct_scalar(node)
        return {name: str(text).split(".", 1) if suffix == "GetAtt" else text}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


_Template.add_multi_constructor("!", _intrinsic)
_Template.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: loader.construct_scalar(node))


def loads(text: str) -> dict[str, Any]:
    """The template's data; short forms of intrinsic functions in their long form."""
    template: dict[str, Any] = yaml.load(text, Loader=_Template)  # noqa: S506  (a safe loader)
    return template
