"""Values of a class as the operator writes them: which are no numbers, and what is said of one that is wrong."""

import json
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationInfo, field_validator

from agent_stack.domain.texts import crop_characters

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_VALUE = 60
NAMED_ALREADY = frozenset({"missing", "extra_forbidden", "value_error"})
"""Kinds of errors of which the value is the whole object, or stands in the words."""


class Entry(BaseModel):
    """Part of a class document. Python counts true as one; here it is no number."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value(cls, value: object, info: ValidationInfo) -> object:
        of_numbers = cls.model_fields[info.field_name or ""].annotation in (int, int | None)
        if of_numbers and isinstance(value, bool):
            raise ValueError(f"a whole number is wanted, not {json.dumps(value)}")
        return value


def words_of(fault: "ErrorDetails") -> str:
    """What is wrong, with the value."""
    words, value = fault["msg"].removeprefix("Value error, "), fault["input"]
    if fault["type"] in NAMED_ALREADY or not isinstance(value, str | int | float):
        return words
    return f"{words}; it is {crop_characters(json.dumps(value), MAX_VALUE)}"
