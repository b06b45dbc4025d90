"""Reads JSON bodies and query parameters strictly: every documented rule is checked here by name.

What is missing or of another type than documented is a bad parameter, 400; what is out of its range is 422.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from werkzeug import Request

from tests.simulator.buildkite.rules import Refusal, Rule

_JSON = "application/json"


@lru_cache(maxsize=10_000)  # a long queue is listed every second
def iso(at: datetime) -> str:
    """A time as the service writes it: UTC with milliseconds and a Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: object) -> datetime:
    """A time with a zone, as a client writes it.

    Raises:
        Refusal: 422, it is none.
    """
    try:
        at = datetime.fromisoformat(text if isinstance(text, str) else "")
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Refusal(422, "timestamp is not an ISO 8601 time with a zone", rule=Rule.NOTIFICATION_TIME)
    return at.astimezone(UTC)


class Fields:
    """The fields of a JSON object, each read as what it is documented to be."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    @classmethod
    def of(cls, request: Request) -> "Fields":
        """The JSON object in a request.

        Raises:
            Refusal: 400, the body is no JSON object or is not announced as JSON.
        """
        if request.mimetype != _JSON:
            raise Refusal(400, f"Content-Type must be {_JSON}", rule=Rule.JSON_BODY)
        try:
            values = json.loads(request.get_data())
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise Refusal(400, "The body must be a JSON object", rule=Rule.JSON_BODY)
        return cls(values)

    def has(self, name: str) -> bool:
        """Whether the field is there with a value."""
        return self._values.get(name) is not None

    def raw(self, name: str) -> object:
        """The field as it came, None when it did not."""
        return self._values.get(name)

    def text(self, name: str) -> str:
        """A string that must be there."""
        value = self._values.get(name)
        if not isinstance(value, str):
            raise Refusal(400, f"{name} is required and must be a string", rule=Rule.REQUIRED_FIELD)
        return value

    def optional_text(self, name: str) -> str | None:
        """A string, or None when it is absent."""
        return self.text(name) if self.has(name) else None

    def integer(self, name: str, default: int) -> int:
        """An integer, or the default when it is absent."""
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            raise Refusal(400, f"{name} must be an integer", rule=Rule.REQUIRED_FIELD)
        return value

    def integer_between(self, name: str, default: int, *, lowest: int, highest: int, rule: Rule) -> int:
        """An integer within a published range, or the default when it is absent."""
        value = self.integer(name, default)
        if not lowest <= value <= highest:
            raise Refusal(422, f"{name} must be between {lowest} and {highest}", rule=rule)
        return value

    def job_ids(self, name: str, *, maximum: int) -> Sequence[str]:
        """Job ids, each once, in the order given."""
        values = self._texts(name)
        if len(values) > maximum:
            raise Refusal(422, f"{name} has too many elements (maximum is {maximum})", rule=Rule.IDS_PER_REQUEST)
        return tuple(dict.fromkeys(values))

    def texts(self, name: str) -> Sequence[str]:
        """A list of strings, empty when it is absent."""
        return self._texts(name) if self.has(name) else ()

    def objects(self, name: str) -> Sequence["Fields"]:
        """A list of JSON objects that must be there."""
        values = self._values.get(name)
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise Refusal(400, f"{name} is required and must be a list of objects", rule=Rule.REQUIRED_FIELD)
        return tuple(Fields(value) for value in values)

    def _texts(self, name: str) -> Sequence[str]:
        values = self._values.get(name)
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise Refusal(400, f"{name} is required and must be a list of strings", rule=Rule.REQUIRED_FIELD)
        return tuple(values)
