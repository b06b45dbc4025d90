"""Evaluates identity policies: an explicit denial wins, then a permission, else nothing is allowed.

Source: the IAM user guide's pages on policy evaluation logic, condition operators and multivalued context keys.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

Context = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request, as IAM sees it.

    Attributes:
        context: condition keys with their values, all as text.
    """

    action: str
    resource: str
    context: Context = field(default_factory=dict)


class Policies:
    """All statements that apply to one principal."""

    def __init__(self, documents: Sequence[Mapping[str, Any]]) -> None:
        self._statements = [statement for document in documents for statement in _listed(document["Statement"])]

    def allow(self, asked: Asked) -> bool:
        """Whether the request is allowed."""
        effects = {statement["Effect"] for statement in self._statements if _applies(statement, asked)}
        return "Deny" not in effects and "Allow" in effects

    def deny(self, asked: Asked) -> bool:
        """Whether a statement denies the request; without one it may still not be allowed."""
        return any(statement["Effect"] == "Deny" and _applies(statement, asked) for statement in self._statements)

    @property
    def statements(self) -> Sequence[Mapping[str, Any]]:
        """All of them."""
        return tuple(self._statements)


def _applies(statement: Mapping[str, Any], asked: Asked) -> bool:
    unknown = set(statement) - {"Sid", "Effect", "Action", "Resource", "Condition"}
    if unknown:
        raise NotImplementedError(f"statements with {', '.join(sorted(unknown))}")
    actions, resources = _listed(statement["Action"]), _listed(statement["Resource"])
    return (
        any(fnmatchcase(asked.action.lower(), action.lower()) for action in actions)
        and any(_like(asked.resource, resource, asked.context) for resource in resources)
        and all(
            _holds(operator, key, _listed(wanted), asked.context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _holds(operator: str, key: str, wanted: Sequence[str], context: Context) -> bool:
    values = _of(context, key)
    quantifier, _, name = operator.rpartition(":")
    if name == "Null":
        return (values is None) == (wanted[0] == "true")
    if name.endswith("IfExists"):
        if values is None:
            return True
        name = name.removesuffix("IfExists")
    compare = _OPERATORS.get(name)
    if compare is None or quantifier not in {"", "ForAllValues", "ForAnyValue"}:
        raise NotImplementedError(f"the condition operator {operator}")
    if quantifier == "ForAllValues":
        return all(any(compare(value, one, context) for one in wanted) for value in values or ())
    if name in _NEGATED:
        return values is None or all(all(compare(value, one, context) for one in wanted) for value in values)
    return any(compare(value, one, context) for value in values or () for one in wanted)


def _like(value: str, pattern: str, context: Context) -> bool:
    filled = _filled(pattern, context)
    return filled is not None and re.fullmatch(_as_expression(filled), value, re.DOTALL) is not None


def _equals(value: str, wanted: str, context: Context) -> bool:
    return value == _filled(wanted, context)


_OPERATORS: Mapping[str, Callable[[str, str, Context], bool]] = {
    "StringEquals": _equals,
    "StringNotEquals": lambda value, wanted, context: not _equals(value, wanted, context),
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda value, wanted, _: value.lower() == wanted.lower(),
    "NumericEquals": lambda value, wanted, _: float(value) == float(wanted),
    "NumericLessThanEquals": lambda value, wanted, _: float(value) <= float(wanted),
}
_NEGATED = frozenset({"StringNotEquals"})


def _filled(pattern: str, context: Context) -> str | None:
    """The pattern with its variables filled in; None when the request has no value for one: nothing matches it."""
    missing = False

    def fill(match: re.Match[str]) -> str:
        nonlocal missing
        values = _of(context, match[1])
        missing = missing or values is None
        return values[0] if values else ""

    filled = re.sub(r"\$\{([a-z0-9]+:[A-Za-z0-9/:_-]+)\}", fill, pattern)
    if "${" in filled:
        raise NotImplementedError(f"the policy variable in {pattern}")
    return None if missing else filled


def _as_expression(pattern: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)


def _of(context: Context, key: str) -> Sequence[str] | None:
    """Condition keys are compared without regard to case, but for tag keys in the requests this stack makes."""
    return next((values for name, values in context.items() if name.lower() == key.lower()), None)


def _listed(value: Any) -> list[Any]:  # noqa: ANN401  (JSON: one or a list of them)
    return value if isinstance(value, list) else [value]
