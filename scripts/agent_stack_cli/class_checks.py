"""What EC2 and SSM say of a class's types and image, with the operator's own rights."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.ec2 import errors as ec2_errors
from agent_stack.adapters.ec2.catalog import RESOLVE, Ec2InstanceCatalog
from agent_stack.adapters.ec2.instance_types import Ec2InstanceTypes
from agent_stack.adapters.ssm import parameters
from agent_stack.adapters.ssm.json_document import read_json
from agent_stack.adapters.system import SystemClock, SystemIds
from agent_stack.domain.classes import VmClass
from agent_stack_cli.baked_names import kept, named_by, parameter_of
from agent_stack_cli.errors import code_of, words_of
from agent_stack_cli.session import Session
from agent_stack_cli.stacks import Stack
from agent_stack_cli.waiting_room import Patience

ERROR, WARNING = "error", "warning"
MAY_GO = "image: nothing keeps it; "
"""How the words begin about a baked image that a class names by its id."""

IMAGE_PARAMETER = re.compile(r"resolve:ssm:([A-Za-z0-9/._-]+)(:[A-Za-z0-9._-]+)?")
"""The name, and perhaps a version or a label."""


def of_account(stack: Stack, vm_class: VmClass) -> Iterator[tuple[str, str]]:
    """Severity and words of what is wrong with a class here. What AWS does not say about one class is said, too."""
    try:
        yield from _of_types_and_image(stack, vm_class)
    except (ClientError, BotoCoreError) as error:
        yield WARNING, f"not examined: {words_of(error)}"


def deprecated_since(image: Mapping[str, Any], now: datetime) -> str:
    """The day since when an image is deprecated; empty for one that is not."""
    at = str(image.get("DeprecationTime", ""))
    return at[:10] if at and at < f"{now:%Y-%m-%dT%H:%M}" else ""


def root_gib(image: Mapping[str, Any]) -> int:
    """How large the disk of an image is at least, as EC2 shows it; 0 where it does not."""
    disks = image.get("BlockDeviceMappings", ())
    of_root = (disk.get("Ebs", {}) for disk in disks if disk.get("DeviceName") == image.get("RootDeviceName"))
    return max((int(disk.get("VolumeSize", 0)) for disk in of_root), default=0)


def image_parameters(stack: Stack) -> list[str]:
    """The account's own SSM parameters that the classes in force take their images from."""
    settings = stack.settings
    found: set[str] = set()
    for name in filter(None, (settings.classes_parameter, settings.default_classes_parameter)):
        try:
            text = str(stack.session.ssm.get_parameter(Name=name)["Parameter"].get("Value", ""))
        except (ClientError, BotoCoreError):
            continue  # who prints a policy may lack the rights that it gives
        found |= set(_image_parameters(text))
    return sorted(name for name in found if not name.removeprefix("/").startswith("aws/"))


def _image_parameters(text: str) -> Iterator[str]:
    """From the images of the classes only: whoever writes a class must not grant a right by any other text."""
    try:
        classes = read_json(text)["classes"].values()
    except (ValueError, TypeError, KeyError, AttributeError):
        return  # no document; `doctor` says what is wrong with it
    for vm_class in classes:
        image = vm_class.get("image") if isinstance(vm_class, dict) else None
        named = IMAGE_PARAMETER.fullmatch(image) if isinstance(image, str) else None
        if named is not None:
            yield named[1]


def catalog(stack: Stack) -> Ec2InstanceCatalog:
    """The dispatcher's own reader of types and images, asking as the operator."""
    clock, session = SystemClock(), stack.session

    def calls(throttles: frozenset[str], server_errors: frozenset[str]) -> AwsCalls:
        return AwsCalls(
            clock=clock, ids=SystemIds(), deadline=Patience(), throttles=throttles, server_errors=server_errors
        )

    ec2 = calls(ec2_errors.NOTHING_DONE, ec2_errors.SERVER)
    ssm = parameters.Parameters(
        client=lambda: session.ssm, calls=calls(parameters.THROTTLES, parameters.SERVER_ERRORS), who="your role"
    )
    return Ec2InstanceCatalog(
        client=lambda: session.ec2,
        calls=ec2,
        instance_types=Ec2InstanceTypes(client=lambda: session.ec2, calls=ec2),
        parameter=lambda name: ssm.read(
            name, setting="ClassesParameter", remedy="Name an image parameter that is there."
        ),
        clock=clock,
    )


def _of_types_and_image(stack: Stack, vm_class: VmClass) -> Iterator[tuple[str, str]]:
    session = stack.session
    types = list(vm_class.instance_types)
    try:
        shown = session.ec2.describe_instance_types(
            InstanceTypes=types,  # type: ignore[arg-type]  # the stub knows today's types only
        )["InstanceTypes"]
    except ClientError as error:
        if not code_of(error).startswith("InvalidInstanceType"):
            raise
        yield ERROR, f"instance_types: {error.response['Error'].get('Message', code_of(error))}"
        return
    image = _image(session, vm_class.image)
    if image is None:
        yield ERROR, f"image: {vm_class.image} is not there, or not shared with this account"
        return
    for kind in shown:
        known = set(kind.get("ProcessorInfo", {}).get("SupportedArchitectures", []))
        if known and image.get("Architecture") and image["Architecture"] not in known:
            words = f"{kind['InstanceType']} is {' or '.join(sorted(known))}, and the image is {image['Architecture']}"
            yield ERROR, words
    gib, least = vm_class.volume.gib if vm_class.volume else None, root_gib(image)
    if gib is not None and gib < least:
        words = f"the disk of {image['ImageId']} has {least} GiB, and volume_gib is {gib}: set it to {least} or more"
        yield ERROR, f"volume_gib: {words}"
    if day := deprecated_since(image, session.now()):
        yield WARNING, f"image: {image['ImageId']} is deprecated since {day}"
    if not kept(image) and image["ImageId"] == vm_class.image and named_by(stack, parameter_of(stack), image):
        keep = stack.agent_stack("images", "keep", vm_class.image)
        yield (
            WARNING,
            f"{MAY_GO}{vm_class.image} is removed once five are newer and it launched no VM for 60 days: {keep}",
        )


def _image(session: Session, named: str) -> Mapping[str, Any] | None:
    image_id = named
    try:
        if named.startswith(RESOLVE):
            image_id = session.ssm.get_parameter(Name=named.removeprefix(RESOLVE))["Parameter"]["Value"]
        images = session.ec2.describe_images(ImageIds=[image_id])["Images"]
    except ClientError as error:
        if code_of(error).startswith("InvalidAMIID") or code_of(error) in {"ParameterNotFound", "ValidationException"}:
            return None
        raise
    return images[0] if images else None
