"""The operator's class document: JSON, checked field by field, turned into the domain's classes.

Each class is read alone. One that is wrong is carried along with its error, and the other classes can be used.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent_stack.adapters.class_errors import REMEDY, SETTING, wrong_member
from agent_stack.adapters.ssm.class_rules import (
    MAX_THROUGHPUT,
    MIN_SPOT_PRICE,
    MIN_THROUGHPUT,
    UNSAID,
    VolumeType,
    volume_problem,
)
from agent_stack.adapters.ssm.entry_values import Entry, words_of
from agent_stack.adapters.ssm.json_document import UnreadableError, given_twice, read_json
from agent_stack.adapters.ssm.requirements_entry import Requirements
from agent_stack.adapters.ssm.standby_entry import StandbyEntry
from agent_stack.domain.classes import ClassBook, VmClass, Volume
from agent_stack.domain.errors import AgentStackError, ConfigurationError
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.purchase_mix import PurchaseMix
from agent_stack.domain.states import CapacityType, SpotStrategy
from agent_stack.domain.texts import crop_characters
from agent_stack.ports import InstanceCatalog

MAX_PROBLEM = 600
CLASS_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"

InstanceType = Annotated[str, Field(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$")]
TypePattern = Annotated[str, Field(pattern=r"^[a-z0-9*?.-]+$", max_length=40)]
AgentTag = Annotated[str, Field(pattern=r"^[A-Za-z0-9._/:@+-]+=[A-Za-z0-9._/:@+*-]+$", max_length=200)]


class ClassEntry(Entry):
    """One class as the operator writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    instance_types: list[InstanceType] | None = Field(default=None, min_length=1, max_length=50)
    instance_requirements: Requirements | None = None
    image: str = Field(pattern=r"^(ami-[0-9a-f]{8,17}|resolve:ssm:[A-Za-z0-9/._:-]+)$")
    market: CapacityType = CapacityType.ON_DEMAND
    fallback_to_on_demand: bool = False
    vcpus: int | None = Field(default=None, ge=1, le=1024)
    """Ignored: EC2 says how many vCPUs a type has. Documents of earlier versions state it."""
    root_device: str | None = Field(default=None, pattern=r"^/dev/[a-z0-9]+$")
    volume_gib: int | None = Field(default=None, ge=1, le=65536)
    volume_type: VolumeType | None = None
    volume_iops: int | None = None
    volume_throughput_mibs: int | None = Field(default=None, ge=MIN_THROUGHPUT, le=MAX_THROUGHPUT)
    spot_allocation_strategy: SpotStrategy | None = None
    spot_max_price: Decimal | None = Field(default=None, gt=MIN_SPOT_PRICE, le=10_000)
    on_demand_base: int = Field(default=0, ge=0, le=100_000)
    on_demand_percent: int = Field(default=0, ge=0, le=99)
    max_instances: int | None = Field(default=None, ge=0)
    boot_timeout_seconds: int = Field(default=300, ge=30, le=3240)
    allow_instance_types: list[TypePattern] = Field(default_factory=list, max_length=50)
    allow_markets: list[CapacityType] = Field(default_factory=list, max_length=2)
    agent_tags: list[AgentTag] = Field(default_factory=list, max_length=50)
    standby: StandbyEntry | None = None

    @model_validator(mode="after")
    def _types_or_requirements(self) -> "ClassEntry":
        if (self.instance_types is None) == (self.instance_requirements is None):
            raise ValueError("needs either instance_types or instance_requirements")
        return self

    @model_validator(mode="after")
    def _ec2_makes_such_a_volume(self) -> "ClassEntry":
        problem = volume_problem(self.volume_type, self.volume_gib, self.volume_iops, self.volume_throughput_mibs)
        if problem:
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _spot_is_possible(self) -> "ClassEntry":
        if CapacityType.SPOT in (self.market, *self.allow_markets):
            return self
        for name in ("spot_allocation_strategy", "spot_max_price"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is for spot VMs; set market to spot, or leave it out")
        return self

    @model_validator(mode="after")
    def _a_mix_is_of_a_spot_class(self) -> "ClassEntry":
        for name in ("on_demand_base", "on_demand_percent"):
            if getattr(self, name) and self.market is not CapacityType.SPOT:
                raise ValueError(f"{name} is for classes with market spot; set market to spot, or leave it out")
        return self

    def to_class(self, name: str, shapes: InstanceCatalog, *, shipped: bool) -> VmClass:
        """The domain's class; EC2 is asked about its image and attributes, so that a wrong one is found here.

        Args:
            shipped: the document is the stack's own; what it says of its image is true.
        """
        if self.instance_requirements is not None:
            types = shapes.types(self.instance_requirements.to_domain(), self.market)
        else:
            types = tuple(dict.fromkeys(self.instance_types or ()))
        known = self.root_device if shipped else None
        return VmClass(
            name=ClassName(name),
            instance_types=types,
            ordered=self.instance_requirements is None,
            image=self.image,
            capacity_type=self.market,
            fallback=self.fallback_to_on_demand,
            root_device=known or self._root_device(shapes),
            volume=self._volume(),
            spot_strategy=self.spot_allocation_strategy or SpotStrategy.PRICE_CAPACITY_OPTIMIZED,
            spot_max_price=self.spot_max_price,
            mix=self._mix(),
            max_instances=self.max_instances,
            boot_timeout=timedelta(seconds=self.boot_timeout_seconds),
            allowed_types=tuple(self.allow_instance_types),
            allowed_capacity_types=frozenset(self.allow_markets),
            agent_tags=tuple(self.agent_tags),
            standby=None if self.standby is None else self.standby.to_standby(),
            image_id="" if self.standby is None else shapes.image_id(self.image),
        )

    def _mix(self) -> PurchaseMix | None:
        mix = PurchaseMix(base=self.on_demand_base, percent=self.on_demand_percent)
        return None if mix == PurchaseMix() else mix

    def _volume(self) -> Volume | None:
        asked = (self.volume_type, self.volume_gib, self.volume_iops, self.volume_throughput_mibs)
        if all(part is None for part in asked):
            return None
        return Volume(
            kind=self.volume_type or UNSAID,
            gib=self.volume_gib,
            iops=self.volume_iops,
            throughput_mibs=self.volume_throughput_mibs,
        )

    def _root_device(self, shapes: InstanceCatalog) -> str:
        """The image's own, also where the document states one: EC2 calls a volume under another name a second disk."""
        device = shapes.root_device(self.image)
        if self.root_device not in (None, device):
            raise wrong_member("root_device", f"{device} is the root device of {self.image}, not {self.root_device}")
        return device


FIELDS = frozenset({"$schema", "classes", "default_class"})


class ClassDocument(BaseModel):
    """The whole document, as docs/reference/classes.schema.json describes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    editor_schema: str | None = Field(
        default=None, alias="$schema", description="For editors; the stack does not read it.", exclude=True
    )
    classes: dict[Annotated[str, Field(pattern=CLASS_NAME)], ClassEntry] = Field(min_length=1)
    default_class: str


def read_classes(
    text: str, *, name: str, deployment_tags: tuple[str, ...], shapes: InstanceCatalog, shipped: bool = False
) -> ClassBook:
    """The classes in that document, and those that cannot be used with the reason.

    Args:
        shapes: asked for what the document leaves to EC2, and about every image.
        name: of the parameter that holds it, for the message.
        shipped: the document is the stack's own, and EC2 need not be asked about what it states.

    Raises:
        ConfigurationError: the document holds no classes at all. It names the parameter, the field and the remedy.
    """
    listed, document = _opened(text, name)
    classes: dict[ClassName, VmClass] = {}
    broken: dict[ClassName, AgentStackError] = {}
    for given, entry in listed.items():
        if given in getattr(listed, "twice", ()):
            broken[ClassName(given)] = _wrong(name, f"classes.{given}: it is listed twice; keep one")
            continue
        found = _class_or_error(given, entry, shapes, name, shipped=shipped)
        if isinstance(found, VmClass):
            classes[ClassName(given)] = found
        else:
            broken[ClassName(given)] = found
    stated = document.get("default_class", "")
    default = ClassName(crop_characters(stated, MAX_PROBLEM) if isinstance(stated, str) else "")
    if default not in listed:
        problem = f"default_class: {stated!r} is not one of the classes: {', '.join(listed)}"
        broken[default] = _wrong(name, problem)
    for field, problem in _faults_around(document):  # said like a class: it harms no other
        place = ClassName(f"$.{field}" if field in listed else field)
        broken.setdefault(place, _wrong(name, f"{field}: {problem}"))
    faults = frozenset(broken.keys() - listed.keys())
    return ClassBook(classes=classes, default=default, deployment_tags=deployment_tags, broken=broken, faults=faults)


def _opened(text: str, name: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The entries by class, and the document around them."""
    try:
        document = read_json(text.removeprefix("\ufeff"))  # which some editors write before a text
    except UnreadableError as error:
        raise _wrong(name, str(error)) from None
    listed = document.get("classes") if isinstance(document, dict) else None
    if not isinstance(listed, dict) or not listed:
        raise _wrong(name, "classes: the document names no class")
    return listed, document


def _faults_around(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Fields beside the classes that are wrong, each with the reason."""
    for field in sorted(document.keys() - FIELDS):
        yield field, "there is no such field"
    for field in getattr(document, "twice", ()):
        yield field, "the document gives it twice, and the last one counts; keep one"


def _class_or_error(
    given: str, entry: object, shapes: InstanceCatalog, name: str, *, shipped: bool
) -> VmClass | AgentStackError:
    place = f"classes.{given}"
    if not re.fullmatch(CLASS_NAME, given):
        return _wrong(name, f"{place}: a class is named by at most 63 letters, digits and . _ -")
    for twice in given_twice(entry):
        return _wrong(name, f"{place}.{twice}: it is given twice; keep one")
    try:
        return ClassEntry.model_validate(entry).to_class(given, shapes, shipped=shipped)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in (place, *first["loc"]))
        return _wrong(name, f"{where}: {words_of(first)}")
    except ConfigurationError as error:
        return type(error)(setting=SETTING, value=name, problem=f"{place}.{error.problem}", remedy=error.remedy)
    except AgentStackError as error:
        return type(error)(f"{place}: not known yet: {error}")


def _wrong(name: str, problem: str) -> ConfigurationError:
    said = crop_characters(problem, MAX_PROBLEM)  # it may quote a key or a number of any length
    return ConfigurationError(setting=SETTING, value=name, problem=said, remedy=REMEDY)
