"""How large the templates, the functions' environments and the user data are, and how large they may be.

Sources: the quotas pages of CloudFormation and Lambda, and the EC2 user guide on user data.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from infra import user_data
from infra.template_yaml import loads
from tests.infra.stacks import EVERYTHING, deployed, template

MAX_TEMPLATE_BYTES = 1_000_000  # of a template in S3, where scripts/deploy and scripts/package put it
MAX_BODY_BYTES = 51_200  # of a template that stands in the request itself, which nothing here sends
MAX_PARAMETERS = 200
MAX_OUTPUTS = 200
MAX_RESOURCES = 500
MAX_ENVIRONMENT_BYTES = 4_096  # names and values of one function
FUNCTIONS = ("DispatcherFunction", "TrackerFunction")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One size and its limit."""

    what: str
    size: int
    limit: int

    @property
    def fits(self) -> bool:
        """Whether AWS takes it."""
        return self.size <= self.limit

    @property
    def share(self) -> float:
        """Of the limit."""
        return self.size / self.limit


def measures() -> Iterator[Measure]:
    """Everything that is measured, the template's own first."""
    for path in (user_data.TEMPLATE, *sorted((user_data.ROOT / "infra").glob("*.yaml"))):
        yield from _of_template(path)
    translated = len(json.dumps(template()).encode())
    yield Measure(what="template.yaml as SAM deploys it: bytes", size=translated, limit=MAX_TEMPLATE_BYTES)
    for name, parameters in (("with the defaults", {}), ("with everything turned on", EVERYTHING)):
        stack = deployed(parameters)
        for function in FUNCTIONS:
            variables = stack.resources[function]["Properties"]["Environment"]["Variables"]
            size = sum(len(f"{key}{value}".encode()) for key, value in variables.items())
            yield Measure(what=f"environment of {function}, {name}: bytes", size=size, limit=MAX_ENVIRONMENT_BYTES)
        launch = stack.resources["LaunchTemplate"]["Properties"]["LaunchTemplateData"]["UserData"]
        size = len(base64.b64decode(launch))
        yield Measure(what=f"user data, {name}: bytes", size=size, limit=user_data.MAX_BYTES)
    own = user_data.user_data(dict.fromkeys(user_data.SETTINGS, ""))
    yield Measure(what="user data without any value: bytes", size=len(own.encode()), limit=user_data.MAX_OWN_BYTES)


def _of_template(path: Path) -> Iterator[Measure]:
    text = path.read_text()
    parsed = loads(text)
    name = str(path.relative_to(user_data.ROOT))
    yield Measure(what=f"{name}: bytes", size=len(text.encode()), limit=MAX_TEMPLATE_BYTES)
    yield Measure(what=f"{name}: parameters", size=len(parsed["Parameters"]), limit=MAX_PARAMETERS)
    yield Measure(what=f"{name}: resources", size=len(parsed["Resources"]), limit=MAX_RESOURCES)
    yield Measure(what=f"{name}: outputs", size=len(parsed["Outputs"]), limit=MAX_OUTPUTS)


def page(measured: Iterable[Measure]) -> str:
    """What scripts/limits prints."""
    lines = [
        f"{'ok ' if one.fits else 'NO '} {one.what:<64} {one.size:>9,} of {one.limit:>9,}  {one.share:>4.0%}"
        for one in measured
    ]
    body = len(user_data.TEMPLATE.read_bytes())
    lines.append(
        f"A template in the request itself may have {MAX_BODY_BYTES:,} bytes. template.yaml has {body:,}, so it goes "
        "through S3, as scripts/deploy and scripts/package do it."
    )
    return "\n".join(lines)
