"""What a class leaves for EC2 to say: which types have the attributes it asks for, and an image's root device."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from agent_stack.adapters.aws import AwsCalls, RefusedError, required, required_text
from agent_stack.adapters.class_errors import wrong_member
from agent_stack.adapters.ec2.errors import denied
from agent_stack.adapters.ec2.instance_types import Ec2InstanceTypes, TypeFacts
from agent_stack.adapters.pages import members, next_page
from agent_stack.domain.classes import InstanceRequirements
from agent_stack.domain.errors import ConfigurationError, NotPermittedError, TransientError
from agent_stack.domain.states import CapacityType
from agent_stack.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

MAX_AGE = timedelta(hours=1)
"""New instance types come by the month, and an image parameter names another image by the week."""

MAX_TYPES = 50  # by zones they still fit into one request's overrides
MAX_OF_A_FAMILY = 4
"""Sizes of one family, such as `m7i`, while others still have types to offer: a family may be without capacity."""

RESOLVE = "resolve:ssm:"

ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ec2InstanceCatalog:
    """Answers from EC2, each asked for once an hour; an old answer serves while EC2 gives no new one.

    Attributes:
        parameter: the value of an SSM parameter.
    """

    client: Callable[[], "EC2Client"]
    calls: AwsCalls
    instance_types: Ec2InstanceTypes
    parameter: Callable[[str], str]
    clock: Clock
    _known: dict[Hashable, tuple[timedelta, Any]] = field(default_factory=dict, init=False, repr=False)

    def types(self, wanted: InstanceRequirements, capacity_type: CapacityType) -> tuple[str, ...]:
        """Instance types with those attributes, the closest to them first.

        Raises:
            ConfigurationError: there are none.
            TransientError: EC2 does not say.
        """
        return self._once(("types", wanted, capacity_type), lambda: self._types(wanted, capacity_type))

    def root_device(self, image: str) -> str:
        """The name of that image's root device. Under any other name a volume would be a second disk.

        Raises:
            ConfigurationError: there is no such image, or its parameter cannot be read.
            TransientError: EC2 does not say.
        """
        return self._once(("root", image), lambda: self._root_device(image))

    def image_id(self, image: str) -> str:
        """The AMI that an image of a class names now.

        Raises:
            ConfigurationError: its parameter cannot be read.
            TransientError: SSM does not say.
        """
        return self._once(("image", image), lambda: self._image_id(image))

    def _image_id(self, image: str) -> str:
        return self._resolved(image.removeprefix(RESOLVE)) if image.startswith(RESOLVE) else image

    def _types(self, wanted: InstanceRequirements, capacity_type: CapacityType) -> tuple[str, ...]:
        member = "instance_requirements"
        facts = _translated(member, lambda: self.instance_types.facts(self._fitting(wanted))).values()
        types = closest(wanted, [one for one in facts if capacity_type in one.usage_classes])
        if not types:
            raise wrong_member(member, f"no {capacity_type} instance type has these attributes")
        return types

    def _fitting(self, wanted: InstanceRequirements) -> list[str]:
        read = partial(self._page, _question(wanted))
        return list(members(self.calls, "GetInstanceTypesFromInstanceRequirements", read))

    def _page(self, asked: Mapping[str, Any], token: str | None) -> tuple[list[str], str]:
        more = next_page(token)
        answer: Mapping[str, Any] = self.client().get_instance_types_from_instance_requirements(**asked, **more)
        names = [required_text(one["InstanceType"]) for one in answer["InstanceTypes"]]
        return names, required(answer.get("NextToken") or "", str)

    def _root_device(self, image: str) -> str:
        image_id = self._image_id(image)
        read = partial(self._root_devices, image_id)
        names = _translated("image", lambda: self.calls.call("DescribeImages", read, is_read=True))
        if not names:
            raise wrong_member("image", f"there is no image {image_id}")
        return names[0]

    def _root_devices(self, image_id: str) -> list[str]:
        described = self.client().describe_images(ImageIds=[image_id])
        return [required_text(image["RootDeviceName"]) for image in described["Images"]]

    def _resolved(self, name: str) -> str:
        try:
            return self.parameter(name)
        except ConfigurationError as error:
            raise wrong_member("image", f"parameter {name}: {error.problem}", kind=type(error)) from None

    def _once(self, key: Hashable, ask: Callable[[], ValueT]) -> ValueT:
        now = self.clock.monotonic()
        known = self._known.get(key)
        if known is None or now - known[0] >= MAX_AGE:
            try:
                known = (now, ask())
            except TransientError:
                if known is None:
                    raise
            self._known[key] = known
        value: ValueT = known[1]
        return value


def _translated(member: str, ask: Callable[[], ValueT]) -> ValueT:
    """The answer.

    Raises:
        ConfigurationError: EC2 refuses, in its words; the error names the member of the class.
    """
    try:
        return ask()
    except RefusedError as error:
        kind = NotPermittedError if denied(error.code) else ConfigurationError
        raise wrong_member(member, f"EC2 refuses: {error.code}: {error.message}", kind=kind) from None


def _question(wanted: InstanceRequirements) -> dict[str, Any]:
    """The request. EC2's own defaults offer accelerators and previous generations to those who do not exclude them."""
    accelerators = {"excluded": {"Max": 0}, "required": {"Min": 1}}.get(wanted.accelerators)
    return {
        "ArchitectureTypes": [wanted.architecture],
        "VirtualizationTypes": ["hvm"],
        "InstanceRequirements": {
            "VCpuCount": _range(wanted.vcpus_min, wanted.vcpus_max),
            "MemoryMiB": _range(wanted.memory_gib_min * 1024, (wanted.memory_gib_max or 0) * 1024 or None),
            "InstanceGenerations": ["current", *(["previous"] if wanted.previous_generations else [])],
            "BareMetal": wanted.bare_metal,
            **({"AcceleratorCount": accelerators} if accelerators else {}),
        },
    }


def closest(wanted: InstanceRequirements, types: Iterable[TypeFacts]) -> tuple[str, ...]:
    """At most `MAX_TYPES` of these types, ranked: by vCPUs, then memory, closest first, then newer generations first.

    No family takes more than `MAX_OF_A_FAMILY` places while others have types to offer.
    """

    def distance(one: TypeFacts) -> tuple[int, int, int, str]:
        memory = abs(one.memory_mib - wanted.memory_gib_min * 1024)
        return abs(one.vcpus - wanted.vcpus_min), memory, -one.generation, one.name

    ranked = sorted(types, key=distance)
    taken = Counter[str]()
    first: list[TypeFacts] = []
    later: list[TypeFacts] = []
    for one in ranked:
        taken[one.family] += 1
        (first if taken[one.family] <= MAX_OF_A_FAMILY else later).append(one)
    return tuple(one.name for one in sorted((*first, *later)[:MAX_TYPES], key=distance))


def _range(least: int, most: int | None) -> dict[str, int]:
    return {"Min": least, **({"Max": most} if most is not None else {})}
