"""What one launch makes of a pool: its instances, with their image, disks and tags."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tests.simulator.cloud.errors import Ec2Error
from tests.simulator.cloud.images import Image
from tests.simulator.cloud.instance import Instance
from tests.simulator.cloud.region import Region
from tests.simulator.cloud.settings import LaunchTemplateData


def tags_of(kind: str, request: Mapping[str, Any], template: LaunchTemplateData | None) -> dict[str, str]:
    """The tags that a launch gives resources of a kind: the template's, and the request's over them."""
    given = {} if template is None else {"instance": template.tags, **template.tags_of}
    return {
        **given.get(kind, {}),
        **{
            tag["Key"]: tag["Value"]
            for specification in request.get("TagSpecifications", ())
            if specification["ResourceType"] == kind
            for tag in specification["Tags"]
        },
    }


_METADATA_KEY = re.compile(r"[A-Za-z0-9+=.,_:@-]+")
"""Source: the EC2 user guide, "Work with instance tags in instance metadata"."""


def check_metadata_tags(tags: Mapping[str, str], template: LaunchTemplateData) -> None:
    """Look at the keys of tags that an instance is to find in its metadata.

    Raises:
        Ec2Error: one cannot stand in a path.
    """
    if not template.metadata_tags:
        return
    for key in tags:
        if not _METADATA_KEY.fullmatch(key) or key in {".", "..", "_index"}:
            raise Ec2Error(
                "InvalidParameterValue", f"'{key}' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z...])"
            )


def check_tags(request: Mapping[str, Any], capacity_type: str) -> None:
    """Look at which kinds of resources a request tags.

    Raises:
        Ec2Error: it tags what it does not make.
    """
    kinds = {specification["ResourceType"] for specification in request.get("TagSpecifications", ())}
    if capacity_type == "on-demand" and "spot-instances-request" in kinds:
        raise Ec2Error("InvalidParameterValue", "spot-instances-request cannot be tagged in an on-demand fleet")


def devices(override: Mapping[str, Any], image: Image) -> tuple[str, ...]:
    """The disks: the image's root, and one more for each other name that is asked for."""
    asked = [mapping["DeviceName"] for mapping in override.get("BlockDeviceMappings", ())]
    return tuple(dict.fromkeys([image.root_device, *asked]))


def launch(
    region: Region,
    override: Mapping[str, Any],
    count: int,
    *,
    capacity_type: str,
    image: tuple[str, Image],
    template: LaunchTemplateData,
    tags: Mapping[str, str],
    now: datetime,
) -> Sequence[Instance]:
    """That many instances of a pool."""
    image_id, described = image
    return [
        region.launch(
            now=now,
            instance_type=override["InstanceType"],
            zone=region.network.subnet(override["SubnetId"]).zone,
            subnet_id=override["SubnetId"],
            capacity_type=capacity_type,
            image_id=image_id,
            user_data=template.user_data,
            tags=tags,
            root_device=described.root_device,
            devices=devices(override, described),
            volumes={disk["DeviceName"]: dict(disk.get("Ebs", {})) for disk in override.get("BlockDeviceMappings", ())},
            metadata_tags=dict(tags) if template.metadata_tags else None,
        )
        for _ in range(count)
    ]
