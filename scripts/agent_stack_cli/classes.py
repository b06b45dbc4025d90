"""`agent-stack classes`: checks, compares, writes and explains the class document."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.ec2 import errors as ec2_errors
from agent_stack.adapters.ec2.catalog import Ec2InstanceCatalog
from agent_stack.adapters.ec2.instance_types import Ec2InstanceTypes
from agent_stack.adapters.ssm.class_document import ClassDocument, read_classes
from agent_stack.adapters.system import SystemClock, SystemIds
from agent_stack.domain.classes import ClassBook, Unmatched, VmClass
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import QueueKey
from agent_stack.domain.timeout_check import validate_timeouts
from agent_stack_cli.errors import CliError, code_of, command
from agent_stack_cli.stacks import Stack
from agent_stack_cli.waiting_room import Patience

STANDARD_BYTES, ADVANCED_BYTES = 4096, 8192
"""How large a parameter of each tier may be. Source: Parameter Store's tiers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong with a class, or with the document; `vm_class` is empty for the latter."""

    vm_class: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What was written: the parameter, its tier, and its new version; None when nothing was to change."""

    parameter: str
    tier: str
    version: int | None


def deployed_text(stack: Stack) -> tuple[str, str]:
    """The name of the parameter in force and the document in it.

    Raises:
        CliError: neither the operator's nor the default one is there.
    """
    for name in (stack.settings.classes_parameter, stack.settings.default_classes_parameter):
        if not name:
            continue
        try:
            return name, stack.session.ssm.get_parameter(Name=name)["Parameter"].get("Value", "")
        except ClientError as error:
            if code_of(error) != "ParameterNotFound":
                raise
    raise CliError(
        f"{stack.name} has no class document",
        next=command("agent-stack", "classes", "push", "classes.json", "--stack", stack.name),
    )


def read_file(path: Path) -> str:
    """The document in a file.

    Raises:
        CliError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(
            f"{path} cannot be read: {error}", next="name the file: agent-stack classes validate FILE"
        ) from None


def book_of(stack: Stack, text: str, name: str) -> ClassBook:
    """The classes, with what EC2 says of their types and images.

    Raises:
        CliError: the document is wrong.
    """
    try:
        return read_classes(text, name=name, deployment_tags=stack.settings.agent_tags, shapes=_catalog(stack))
    except AgentStackError as error:
        raise CliError(str(error), next=command("agent-stack", "classes", "validate", name)) from None


def validate(stack: Stack, text: str, name: str) -> list[Finding]:
    """What this account, region and deployment would refuse, class by class."""
    try:
        book = book_of(stack, text, name)
    except CliError as error:
        return [Finding(vm_class="", problem=error.message)]
    found = [Finding(vm_class="", problem=str(misfit)) for misfit in validate_timeouts(stack.settings.policy, book)]
    found += [Finding(vm_class=broken, problem=str(error)) for broken, error in book.broken.items()]
    for vm_class in book.classes.values():
        found += [Finding(vm_class=vm_class.name, problem=problem) for problem in _of_account(stack, vm_class)]
    return found


def differences(stack: Stack, text: str) -> list[str]:
    """A unified diff from the document in force to this one, both in one form; empty when they mean the same."""
    name, deployed = deployed_text(stack)
    return list(unified_diff(_lines(deployed), _lines(text), fromfile=name, tofile="new", lineterm=""))


def push(stack: Stack, text: str) -> Pushed:
    """Writes the document into the operator's parameter. The dispatcher reads it within a minute.

    Raises:
        CliError: the stack names no parameter for it, or the document is too large.
    """
    name = stack.settings.classes_parameter
    if not name:
        raise CliError(
            f"{stack.name} uses its default class: ClassesParameter is empty",
            next=command("scripts/deploy", stack.name, f"ClassesParameter=/agent-stack/{stack.name}/classes"),
        )
    size = len(text.encode())
    if size > ADVANCED_BYTES:
        raise CliError(
            f"the document has {size} bytes; a parameter holds {ADVANCED_BYTES}",
            next="write it without spaces: python3 -m json.tool --compact FILE",
        )
    tier = "Standard" if size <= STANDARD_BYTES else "Advanced"
    try:
        current = stack.session.ssm.get_parameter(Name=name)["Parameter"]
    except ClientError as error:
        if code_of(error) != "ParameterNotFound":
            raise
        current = {}
    if current.get("Value") == text:
        return Pushed(parameter=name, tier=tier, version=None)
    kept = _tier_of(stack, name) if current else ""
    if kept == "Advanced":
        tier = kept  # an advanced parameter cannot become a standard one
    written = stack.session.ssm.put_parameter(
        Name=name,
        Value=text,
        Type="String",
        Overwrite=True,
        Tier=tier,  # type: ignore[arg-type]  # one of the literal names
    )
    return Pushed(parameter=name, tier=tier, version=written["Version"])


def explain(book: ClassBook, rules: Sequence[str], queue: QueueKey) -> VmClass | Unmatched:
    """The class that a job with these agent query rules gets, or why none."""
    return book.match(tuple(rules), queue)


def _tier_of(stack: Stack, name: str) -> str:
    try:
        found = stack.session.ssm.describe_parameters(Filters=[{"Key": "Name", "Values": [name]}])["Parameters"]
    except ClientError:
        return ""
    return str(found[0].get("Tier", "")) if found else ""


def _of_account(stack: Stack, vm_class: VmClass) -> Iterator[str]:
    """What EC2 says of the class's types and image."""
    types = list(vm_class.instance_types)
    try:
        shown = stack.session.ec2.describe_instance_types(
            InstanceTypes=types,  # type: ignore[arg-type]  # the stub knows today's types only
        )["InstanceTypes"]
    except ClientError as error:
        yield f"instance_types: {error.response['Error'].get('Message', code_of(error))}"
        return
    architectures = {
        str(kind["InstanceType"]): set(kind.get("ProcessorInfo", {}).get("SupportedArchitectures", []))
        for kind in shown
    }
    image = _image(stack, vm_class.image)
    if image is None:
        yield f"image: {vm_class.image} is not there, or not shared with this account"
        return
    for instance_type, known in architectures.items():
        if known and image.get("Architecture") and image["Architecture"] not in known:
            yield f"{instance_type} is {' or '.join(sorted(known))}, and the image is {image['Architecture']}"
    if (deprecated := image.get("DeprecationTime", "")) and deprecated < f"{stack.session.now():%Y-%m-%dT%H:%M}":
        yield f"image: {image['ImageId']} is deprecated since {deprecated[:10]}"


def _image(stack: Stack, named: str) -> Mapping[str, Any] | None:
    image_id = named
    try:
        if named.startswith("resolve:ssm:"):
            image_id = stack.session.ssm.get_parameter(Name=named.removeprefix("resolve:ssm:"))["Parameter"]["Value"]
        images: Sequence[Any] = stack.session.ec2.describe_images(ImageIds=[image_id])["Images"]
    except ClientError as error:
        if code_of(error).startswith("InvalidAMIID") or code_of(error) in {"ParameterNotFound", "ValidationException"}:
            return None
        raise
    return images[0] if images else None


def _catalog(stack: Stack) -> Ec2InstanceCatalog:
    clock = SystemClock()
    calls = AwsCalls(
        clock=clock,
        ids=SystemIds(),
        deadline=Patience(),
        throttles=ec2_errors.NOTHING_DONE,
        server_errors=ec2_errors.SERVER,
    )
    return Ec2InstanceCatalog(
        client=lambda: stack.session.ec2,
        calls=calls,
        instance_types=Ec2InstanceTypes(client=lambda: stack.session.ec2, calls=calls),
        parameter=lambda name: str(stack.session.ssm.get_parameter(Name=name)["Parameter"]["Value"]),
        clock=clock,
    )


def _lines(text: str) -> list[str]:
    try:
        document = ClassDocument.model_validate(json.loads(text))
    except ValueError:
        return text.splitlines()
    return json.dumps(document.model_dump(mode="json", exclude_defaults=True), indent=2, sort_keys=True).splitlines()
