"""How long template.yaml lets an invocation of a function take."""

from datetime import timedelta
from functools import cache
from typing import Any

import yaml

from tests.simulator.deployment.transform import TEMPLATE


class _WithoutTags(yaml.SafeLoader):
    """Reads a template whose intrinsic functions nobody asks for."""


_WithoutTags.add_multi_constructor("!", lambda *_: None)


@cache
def function_timeout() -> timedelta:
    """`Globals.Function.Timeout`; read without the rest of the template, which takes seconds."""
    text = TEMPLATE.read_text()
    part = "Globals:" + text.partition("\nGlobals:")[2].partition("\nResources:")[0]
    settings: dict[str, Any] = yaml.load(part, Loader=_WithoutTags)
    return timedelta(seconds=int(settings["Globals"]["Function"]["Timeout"]))
