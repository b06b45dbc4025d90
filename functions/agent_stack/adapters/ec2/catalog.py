"""What a class leaves for EC2 to say: which types have the attributes it asks for, and an image's root device."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from agent_stack.adapters.aws import AwsCalls, RefusedError, required, required_text
from agent_stack.domain.classes import InstanceRequirements
from agent_stack.domain.errors import ConfigurationError
from agent_stack.domain.states import CapacityType
from agent_stack.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

MAX_AGE = timedelta(hours=1)
"""New instance types come by the month, and an image parameter names another image by the week."""

MAX_TYPES = 50  # by zones they still fit into one request's overrides
RESOLVE = "resolve:ssm:"

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ec2InstanceCatalog:
    """Answers from EC2, each asked for once an hour; an old answer serves while no new one is to be had.

    Attributes:
        parameter: the value of an SSM parameter.
    """

    client: Callable[[], "EC2Client"]
    calls: AwsCalls
    parameter: Callable[[str], str]
    clock: Clock
    _known: dict[tuple[str, ...], tuple[datetime, Any]] = field(default_factory=dict, init=False, repr=False)

    def types(self, wanted: InstanceRequirements, capacity_type: CapacityType) -> tuple[str, ...]:
        """Instance types with those attributes.

        Raises:
            ConfigurationError: there are none.
        """
        return self._once(("types", _json(wanted), capacity_type), lambda: self._types(wanted))

    def root_device(self, image: str) -> str:
        """The name of that image's root device. Under any other name a volume would be a second disk.

        Raises:
            ConfigurationError: there is no such image.
        """
        return self._once(("root", image), lambda: self._root_device(image))

    def _types(self, wanted: InstanceRequirements) -> tuple[str, ...]:
        found: list[str] = []
        token: str | None = None
        asked: dict[str, Any] = {
            "ArchitectureTypes": [wanted.architecture],
            "VirtualizationTypes": ["hvm"],
            "InstanceRequirements": {
                "VCpuCount": _range(wanted.vcpus_min, wanted.vcpus_max),
                "MemoryMiB": _range(wanted.memory_gib_min * 1024, (wanted.memory_gib_max or 0) * 1024 or None),
                "InstanceGenerations": ["current"],
                "BareMetal": "excluded",
            },
        }
        while True:
            request = {**asked, "NextToken": token} if token else asked
            page = self._asked("GetInstanceTypesFromInstanceRequirements", partial(self._page, request))
            found += page.names
            token = page.token
            if not token:
                break
        if not found:
            raise _wrong("instance_requirements", _json(wanted), "no instance type has these attributes")
        return tuple(sorted(found)[:MAX_TYPES])

    def _page(self, request: Mapping[str, Any]) -> "_Page":
        answer: Mapping[str, Any] = self.client().get_instance_types_from_instance_requirements(**request)
        names = tuple(required_text(one["InstanceType"]) for one in answer["InstanceTypes"])
        return _Page(names=names, token=required(answer.get("NextToken") or "", str))

    def _root_device(self, image: str) -> str:
        image_id = self.parameter(image.removeprefix(RESOLVE)) if image.startswith(RESOLVE) else image
        names = self._asked("DescribeImages", partial(self._root_devices, image_id))
        if names:
            return names[0]
        raise _wrong("image", image, "there is no such image")

    def _root_devices(self, image_id: str) -> list[str]:
        described = self.client().describe_images(ImageIds=[image_id])
        return [required_text(image["RootDeviceName"]) for image in described["Images"]]

    def _asked(self, name: str, send: Callable[[], ValueT]) -> ValueT:
        try:
            return self.calls.call(name, send, is_read=True)
        except RefusedError as error:
            raise _wrong("classes", name, f"EC2 refuses: {error.code}: {error.message}") from None

    def _once(self, key: tuple[str, ...], ask: Callable[[], ValueT]) -> ValueT:
        now = self.clock.now()
        known = self._known.get(key)
        if known is None or now - known[0] >= MAX_AGE:
            known = (now, ask())
            self._known[key] = known
        value: ValueT = known[1]
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """Names of instance types, and the token of the next page, if there is one."""

    names: tuple[str, ...]
    token: str


def _json(wanted: InstanceRequirements) -> str:
    return json.dumps(asdict(wanted), separators=(",", ":"))


def _range(least: int, most: int | None) -> dict[str, int]:
    return {"Min": least, **({"Max": most} if most is not None else {})}


def _wrong(what: str, value: str, problem: str) -> ConfigurationError:
    return ConfigurationError(
        setting="ClassesParameter",
        value=value,
        problem=f"{what}: {problem}",
        remedy="Correct the document in that parameter; docs/classes.md shows every field.",
    )
