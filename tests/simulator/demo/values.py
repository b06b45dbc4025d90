"""The values of a pipeline file in all the forms that Buildkite takes, brought into one.

Each raises ValueError with what may stand there.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from tests.simulator.buildkite import RetryRule

DEFAULT_RETRIES: Final = 2
MAX_RETRIES: Final = 10


def text(value: Any) -> str:  # noqa: ANN401  (whatever stands in the file)
    """A scalar as a text: true, 3 and 1.5 as they are written, nothing as an empty one."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError("should be a text, a number, true or false")


def commands(value: Any) -> str:  # noqa: ANN401
    """One command or a list of them; each stands on a line of its own, and the first that fails is the last."""
    return "\n".join(map(text, value)) if isinstance(value, list) else text(value)


def rules(value: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Agent query rules, as a mapping or as a list of key=value."""
    if isinstance(value, Mapping):
        return tuple(f"{key}={text(rule)}" for key, rule in value.items())
    if isinstance(value, list) and all(isinstance(rule, str) and "=" in rule for rule in value):
        return tuple(value)
    raise ValueError("should be a mapping such as {queue: default}, or a list such as [queue=default]")


def env(value: Any) -> dict[str, str]:  # noqa: ANN401
    """Variables with any scalar as their value."""
    if not isinstance(value, Mapping):
        raise ValueError("should be a mapping such as {CI_MODE: fast}")  # noqa: TRY004  (all mistakes are of one kind)
    made = {}
    for name, given in value.items():
        try:
            made[name] = text(given)
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
    return made


def flag(value: Any) -> bool:  # noqa: ANN401
    """True or false, also as a text."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in {"true", "false"}:
        return value == "true"
    raise ValueError("should be true or false")


def whole(value: Any) -> int:  # noqa: ANN401
    """A whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("should be a whole number")


def at_least(least: int) -> Callable[[Any], int]:
    """A whole number that is not smaller."""

    def parse(value: Any) -> int:  # noqa: ANN401
        if (number := whole(value)) < least:
            raise ValueError(f"should be at least {least}")
        return number

    return parse


def plugins(value: Any) -> list[Any]:  # noqa: ANN401
    """Plugins one by one: each its name, or its name with its settings."""
    listed = [value] if isinstance(value, Mapping) else value
    if not isinstance(listed, list) or not all(isinstance(one, str | Mapping) for one in listed):
        raise ValueError(
            "should be a list of plugins, each a name or a name with its settings, such as [docker#v5: {image: go}]"
        )
    made: list[Any] = []
    for one in listed:
        made += [one] if isinstance(one, str) else [{name: given} for name, given in one.items()]
    return made


def skip(value: Any) -> str | None:  # noqa: ANN401
    """Why it is skipped; None when it is not."""
    if isinstance(value, str) and value not in {"true", "false"}:
        return value or None
    return "skip: true" if flag(value) else None


def depends_on(value: Any) -> tuple[tuple[str, bool], ...]:  # noqa: ANN401
    """Keys of steps, and whether their failure is allowed."""
    made: list[tuple[str, bool]] = []
    for one in value if isinstance(value, list) else [] if value is None else [value]:
        if isinstance(one, Mapping):
            if set(one) - {"step", "allow_failure"} or not isinstance(one.get("step"), str):
                raise ValueError("should have `step` with the key of a step, and may have `allow_failure`")
            made.append((one["step"], flag(one.get("allow_failure", False))))
        else:
            made.append((text(one), False))
    return tuple(made)


def soft_fail(value: Any) -> bool | tuple[int, ...]:  # noqa: ANN401
    """Whether, or with which exit statuses."""
    if not isinstance(value, list):
        return flag(value)
    statuses = [one.get("exit_status") if isinstance(one, Mapping) else None for one in value]
    if "*" in statuses:
        return True
    try:
        return tuple(map(whole, statuses))
    except ValueError:
        raise ValueError(
            'should be true, false, or a list such as [{exit_status: 1}] or [{exit_status: "*"}]'
        ) from None


def retry(value: Any) -> tuple[RetryRule, ...]:  # noqa: ANN401
    """The rules for automatic retries."""
    if not isinstance(value, Mapping) or set(value) - {"automatic", "manual"}:
        raise ValueError("should have `automatic`, `manual` or both")
    automatic = value.get("automatic", False)
    if not isinstance(automatic, Mapping | list):
        return (RetryRule(limit=DEFAULT_RETRIES),) if flag(automatic) else ()
    return tuple(map(_rule, automatic if isinstance(automatic, list) else [automatic]))


def _rule(value: Any) -> RetryRule:  # noqa: ANN401
    known = {"exit_status", "limit", "signal", "signal_reason"}
    if not isinstance(value, Mapping) or set(value) - known:
        raise ValueError(f"automatic: a rule may have {', '.join(sorted(known))}")
    limit = whole(value.get("limit", DEFAULT_RETRIES))
    if not 1 <= limit <= MAX_RETRIES:
        raise ValueError(f"automatic: limit should be from 1 to {MAX_RETRIES}")
    wanted = value.get("exit_status", "*")
    try:
        statuses = None if wanted == "*" else tuple(map(whole, wanted if isinstance(wanted, list) else [wanted]))
    except ValueError:
        raise ValueError('automatic: exit_status should be a number, a list of numbers, or "*"') from None
    return RetryRule(
        limit=limit,
        exit_statuses=statuses,
        signal=_unless_any(value.get("signal")),
        signal_reason=_unless_any(value.get("signal_reason")),
    )


def _unless_any(value: Any) -> str | None:  # noqa: ANN401
    return None if value is None or value == "*" else text(value)


def fields(value: Any) -> dict[str, str]:  # noqa: ANN401
    """What the demo fills into each field, by its key."""
    if not isinstance(value, list) or not all(
        isinstance(one, Mapping) and isinstance(one.get("key"), str) for one in value
    ):
        raise ValueError("should be a list of fields, each with a `key`")
    return {one["key"]: _filled(one) for one in value}


def _filled(field: Mapping[str, Any]) -> str:
    options = field.get("options", [{}])
    if not isinstance(options, list) or not all(isinstance(option, Mapping) for option in options):
        raise ValueError("options should be a list, each with a `value`")
    given = field.get("default", options[0].get("value", "demo") if options else "demo")
    return "\n".join(map(text, given)) if isinstance(given, list) else text(given)
