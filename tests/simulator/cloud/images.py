"""The images of an account: which there are, and what a launch learns from one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any

from tests.simulator.cloud.catalogue import catalogue
from tests.simulator.cloud.errors import Ec2Error, refused
from tests.simulator.cloud.pages import page_of

RESOLVE = "resolve:ssm:"
IMAGES_PAGE = 2
"""With MaxResults; so small that a reader who forgets the next page is found out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image.

    Attributes:
        architecture: None fits every type.
        state: `available`, or a state in which nothing can be launched: `pending`, `failed`, `disabled`.
        tags: of an image of the account's own; images of others have none.
        root_gib: the size of its root snapshot; no volume of a VM may be smaller.
        created_at: as ISO 8601 in UTC.
        deprecated_at: when it was or will be deprecated, as ISO 8601 in UTC; it can be launched all the same.
    """

    root_device: str = "/dev/xvda"
    root_gib: int | None = None
    architecture: str | None = None
    state: str = "available"
    deprecated_at: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    created_at: str = ""


class Images:
    """All of them. A test may change what it finds here at any time."""

    def __init__(
        self, known: Mapping[str, Image], *, unknown: frozenset[str], parameters: Mapping[str, str] | None
    ) -> None:
        self.known = dict(known)
        """What is special about images, by id."""
        self.unknown = set(unknown)
        """Ids of images that are gone."""
        self.parameters = None if parameters is None else dict(parameters)
        """Image ids by SSM parameter; None: every parameter names an image."""

    def launched(self, asked: str, instance_type: str) -> tuple[str, Image]:
        """The image that a launch gets, and its id.

        Raises:
            Ec2Error: it cannot be launched, or not on that type.
        """
        image_id = self._resolved(asked)
        image = self.known.get(image_id, Image())
        if image_id in self.unknown:
            raise refused("InvalidAMIID.NotFound", image=image_id)
        if image.state != "available":
            raise refused("InvalidAMIID.Unavailable", image=image_id)
        if image.architecture is not None:
            kinds = catalogue()[instance_type].architectures
            if image.architecture not in kinds:
                raise Ec2Error(
                    "InvalidParameterValue",
                    f"The architecture '{','.join(sorted(kinds))}' of the specified instance type does not match the "
                    f"architecture '{image.architecture}' of the specified AMI. Specify an instance type and an AMI "
                    "that have matching architectures, and try again.",
                )
        return image_id, image

    def describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeImages, by id, or the account's own by their tags.

        Raises:
            Ec2Error: one of them does not exist, or a question is not simulated.
        """
        if "ImageIds" not in request:
            return self._own(request)
        asked = request["ImageIds"]
        missing = [image_id for image_id in asked if image_id in self.unknown]
        if missing:
            raise refused("InvalidAMIID.NotFound", image=", ".join(missing))
        return {"Images": [self._described(image_id) for image_id in asked]}

    def _own(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if list(request.get("Owners", ())) != ["self"]:
            raise Ec2Error("InvalidParameterValue", "only images by id and those of the account itself are simulated")
        shown = [image_id for image_id, image in self.known.items() if image.tags and image_id not in self.unknown]
        for wanted in request.get("Filters", ()):
            kind, _, key = wanted["Name"].partition(":")
            if kind != "tag":
                raise Ec2Error("InvalidParameterValue", f"The filter '{wanted['Name']}' is not simulated")
            shown = [
                image_id
                for image_id in shown
                if any(fnmatchcase(self.known[image_id].tags.get(key, ""), value) for value in wanted["Values"])
            ]
        largest = IMAGES_PAGE if "MaxResults" in request else max(len(shown), 1)
        return page_of("Images", [self._described(image_id) for image_id in shown], request, largest)

    def _described(self, image_id: str) -> dict[str, Any]:
        image = self.known.get(image_id, Image())
        shown: dict[str, Any] = {"ImageId": image_id, "RootDeviceName": image.root_device, "State": image.state}
        if image.root_gib is not None:
            disk = {"DeviceName": image.root_device, "Ebs": {"VolumeSize": image.root_gib}}
            shown |= {"BlockDeviceMappings": [disk]}
        shown |= {"DeprecationTime": image.deprecated_at} if image.deprecated_at else {}
        shown |= {"CreationDate": image.created_at} if image.created_at else {}
        shown |= {"Tags": [{"Key": key, "Value": value} for key, value in image.tags.items()]} if image.tags else {}
        return shown if image.architecture is None else {**shown, "Architecture": image.architecture}

    def _resolved(self, asked: str) -> str:
        if not asked.startswith(RESOLVE):
            return asked
        parameter = asked.removeprefix(RESOLVE)
        if self.parameters is None:
            return f"ami-{sha256(parameter.encode()).hexdigest()[:17]}"
        if parameter not in self.parameters:
            raise Ec2Error("InvalidParameterValue", f"The SSM parameter {parameter} could not be resolved: not found")
        return self.parameters[parameter]
