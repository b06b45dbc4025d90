"""The SAM transform, which CloudFormation would run, without CloudFormation.

Its result is kept beside the environment, by what it was made from, because every process of a test run wants it and
the transform with its imports takes seconds.
"""

import hashlib
import json
import logging
import os
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from infra.template_yaml import loads

TEMPLATE = Path(__file__).resolve().parents[3] / "template.yaml"
_KEPT = Path(sys.prefix) / "transformed"


class _NoManagedPolicies:
    """The template names no managed policy; the transform only wants to be able to ask."""

    def load(self) -> dict[str, str]:
        return {}


@cache
def _translated(text: str, region: str) -> str:
    made_from = "\n".join((text, region, version("aws-sam-translator"), Path(__file__).read_text()))
    kept = _KEPT / f"{hashlib.sha256(made_from.encode()).hexdigest()}.json"
    if kept.exists():
        return kept.read_text()
    translated = _transform(text, region)
    if sys.prefix != sys.base_prefix:  # an environment of ours, not somebody's Python
        _KEPT.mkdir(exist_ok=True)
        written = kept.with_suffix(f".{os.getpid()}")
        written.write_text(translated)
        written.replace(kept)
    return translated


def _transform(text: str, region: str) -> str:
    from samtranslator.parser.parser import Parser  # noqa: PLC0415  (takes a second, and is seldom wanted)
    from samtranslator.translator.translator import Translator  # noqa: PLC0415

    template = json.loads(json.dumps(loads(text)))
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = {"Bucket": "code", "Key": "functions.zip"}
        if resource["Type"] == "AWS::CloudFormation::Stack":  # packaged, as `sam package` does
            name = Path(resource["Properties"]["TemplateURL"]).name
            resource["Properties"]["TemplateURL"] = f"https://code.s3.amazonaws.com/{name}"
    template["Globals"]["Function"].pop("CodeUri")
    logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)  # it warns that its own metrics went nowhere
    translator = Translator(_NoManagedPolicies().load(), Parser(), boto_session=_Session(region))
    return json.dumps(translator.translate(template, parameter_values={}))


class _Session:
    """As much of a boto3 session as the transform asks for."""

    def __init__(self, region: str) -> None:
        self.region_name = region


def translated_template(*, region: str, path: Path = TEMPLATE) -> Mapping[str, Any]:
    """The template as CloudFormation deploys it.

    Raises:
        samtranslator.model.exceptions.InvalidDocumentException: the template is wrong; says where.
    """
    template: Mapping[str, Any] = json.loads(_translated(path.read_text(), region))
    return template
