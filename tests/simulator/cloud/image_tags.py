"""Tags of images: CreateTags and DeleteTags."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.simulator.cloud.authorisation import Caller, arn, touching
from tests.simulator.cloud.errors import refused
from tests.simulator.cloud.images import Images
from tests.simulator.cloud.settings import Settings


def about_images(request: Mapping[str, Any]) -> bool:
    """Whether a request names images and nothing else."""
    return all(resource.startswith("ami-") for resource in request["Resources"])


def tag(
    images: Images, settings: Settings, action: str, request: Mapping[str, Any], caller: Caller | None
) -> dict[str, Any]:
    """CreateTags and DeleteTags, on images.

    Raises:
        Ec2Error: an image is unknown, or its tagging is denied.
    """
    ids, given = request["Resources"], {tag["Key"]: tag.get("Value", "") for tag in request["Tags"]}
    missing = [one for one in ids if one in images.unknown or one not in images.known]
    if missing:
        raise refused("InvalidAMIID.NotFound", image=", ".join(missing))
    if caller is not None:
        caller.check(
            touching(action, arn(settings, f"image/{one}", owned=False), images.known[one].tags, given) for one in ids
        )
    for one in ids:
        left = {key: value for key, value in images.known[one].tags.items() if key not in given}
        images.known[one] = replace(images.known[one], tags={**left, **given} if action == "CreateTags" else left)
    return {}
