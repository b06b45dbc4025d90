"""The class document of a day: any image will do, and nobody changes it."""

import json
from collections.abc import Mapping
from typing import Any

from agent_stack.adapters.class_errors import SETTING
from agent_stack.domain.classes import ClassBook
from agent_stack.domain.errors import ConfigurationError
from tests.simulator.parameters import FakeParameters

AN_IMAGE = "ami-0123456789abcdef0"


class AnyImage(FakeParameters):
    """Every parameter names an image: which one matters to no simulated VM."""

    def get_parameter(self, *, Name: str, WithDecryption: bool) -> dict[str, Any]:  # noqa: N803  (boto3's own)
        """GetParameter."""
        self.values.setdefault(Name, AN_IMAGE)
        return super().get_parameter(Name=Name, WithDecryption=WithDecryption)


class FixedClasses:
    """The class document, read once: nobody changes it in a simulated day."""

    def __init__(self, book: ClassBook) -> None:
        self._book = book

    def book(self) -> ClassBook:
        """See the port."""
        return self._book


def said_of(error: Exception, source: str) -> str:
    """What is wrong, and where. No parameter holds a day's class document: it is where the operator named it."""
    if isinstance(error, ConfigurationError) and error.setting == SETTING:
        return f"{source}: {error.problem}. Correct it there; docs/reference/classes.md shows every field."
    return str(error)


def of_any_image(document: str) -> str:
    """The document without the root devices of its images: the simulated EC2 knows no image, and takes each as it is.

    A document that is no JSON stays as it is; its reader says what is wrong.
    """
    try:
        read = json.loads(document)
        entries: Mapping[str, Any] = read["classes"]
        for entry in entries.values():
            entry.pop("root_device", None)
    except (ValueError, KeyError, TypeError, AttributeError):
        return document
    return json.dumps(read)
