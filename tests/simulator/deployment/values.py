"""A parameter's value, judged as CloudFormation judges it before it makes anything."""

import re
from collections.abc import Mapping
from typing import Any


def checked(name: str, declared: Mapping[str, Any], value: Any) -> Any:  # noqa: ANN401  (text or a list)
    """The value as the template refers to it.

    Raises:
        ValueError: there is none, or the template does not allow it; says which and why.
    """
    if value is None:
        raise ValueError(f"{name} has no value")
    is_list = declared["Type"] == "CommaDelimitedList"
    values = [part.strip() for part in str(value).split(",")] if is_list else [str(value)]
    for each in values:
        if "AllowedValues" in declared and each not in map(str, declared["AllowedValues"]):
            raise ValueError(f"{name}: {each!r} is not allowed")
        if "AllowedPattern" in declared and not re.fullmatch(declared["AllowedPattern"], each):
            raise ValueError(f"{name}: {each!r} is not {declared.get('ConstraintDescription')}")
        if declared["Type"] == "Number" and not (
            float(declared.get("MinValue", "-inf")) <= float(each) <= float(declared.get("MaxValue", "inf"))
        ):
            raise ValueError(f"{name}: {each} is out of bounds")
    return values if is_list else values[0]
