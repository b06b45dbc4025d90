"""Names and tags of what a stack bakes, as infra/image.yaml gives them."""

import re
from collections.abc import Mapping
from typing import Any

from agent_stack_cli.stacks import Stack

TAG = "Ec2ImageBuilderArn"
"""Image Builder puts it on each AMI that it bakes: recipe, version and build."""

KEEP = ("agent-stack:keep", "true")
"""With this tag an AMI is not removed: OldImages of infra/image.yaml excludes it, because both must match."""

_BAKED = r"image/{name}(?:-(?:[0-9a-f]{{12}}-)?(?P<revision>\d+)(?:-\d+)?)?/(?P<agent>[0-9.]+)/\d+"
"""How a baked image's ARN ends: names of recipes are those of infra/image.yaml, in lower case."""


def parameter_of(stack: Stack) -> str:
    """The SSM parameter with the baked image; empty for a stack that bakes none."""
    return stack.outputs.get("ImageParameter", "")


def name_of(parameter: str) -> str:
    """Of recipe and pipeline, as Image Builder's ARNs have it."""
    return parameter.rpartition("/")[2].lower()


def arn(stack: Stack, resource: str) -> str:
    """Of a resource of Image Builder's in the stack's account and region."""
    _, partition, _, region, account, _ = stack.arn.split(":", 5)
    return f"arn:{partition}:imagebuilder:{region}:{account}:{resource}"


def pipeline_of(stack: Stack, parameter: str) -> str:
    """The ARN of the pipeline that bakes the image in that parameter."""
    return arn(stack, f"image-pipeline/{name_of(parameter)}")


def tags_of(image: Mapping[str, Any]) -> Mapping[str, str]:
    """An AMI's tags, as EC2 shows it."""
    return {str(tag["Key"]): str(tag["Value"]) for tag in image.get("Tags", ())}


def named_by(stack: Stack, parameter: str, image: Mapping[str, Any]) -> re.Match[str] | None:
    """What the ARN of this stack's baked image says; None for an image of others."""
    wanted = re.escape(arn(stack, "")) + _BAKED.format(name=re.escape(name_of(parameter)))
    return re.fullmatch(wanted, tags_of(image).get(TAG, ""))


def kept(image: Mapping[str, Any]) -> bool:
    """Whether an AMI has the tag that keeps it."""
    key, value = KEEP
    return tags_of(image).get(key) == value
