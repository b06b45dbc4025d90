"""The SAM transform, which CloudFormation would run, without CloudFormation."""

import json
import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from cfnlint.decode.cfn_yaml import loads
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

TEMPLATE = Path(__file__).resolve().parents[3] / "template.yaml"


class _NoManagedPolicies:
    """The template names no managed policy; the transform only wants to be able to ask."""

    def load(self) -> dict[str, str]:
        return {}


@cache
def _translated(text: str, region: str) -> str:
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
