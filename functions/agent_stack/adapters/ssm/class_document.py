"""The operator's class document: JSON, checked field by field, turned into the domain's classes."""

import json
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent_stack.domain.classes import ClassBook, InstanceRequirements, VmClass
from agent_stack.domain.errors import ConfigurationError
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.states import CapacityType
from agent_stack.ports import InstanceCatalog

SETTING = "ClassesParameter"

InstanceType = Annotated[str, Field(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$")]
TypePattern = Annotated[str, Field(pattern=r"^[a-z0-9*?.-]+$", max_length=40)]
AgentTag = Annotated[str, Field(pattern=r"^[A-Za-z0-9._/:@+-]+=[A-Za-z0-9._/:@+*-]+$", max_length=200)]


class Requirements(BaseModel):
    """Attributes in place of types; EC2 says which types have them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Literal["x86_64", "arm64"]
    vcpus_min: int = Field(ge=1, le=1024)
    vcpus_max: int | None = Field(default=None, ge=1, le=1024)
    memory_gib_min: int = Field(ge=1, le=32768)
    memory_gib_max: int | None = Field(default=None, ge=1, le=32768)

    def to_domain(self) -> InstanceRequirements:
        """The domain's value."""
        return InstanceRequirements(**self.model_dump())


class ClassEntry(BaseModel):
    """One class as the operator writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    instance_types: list[InstanceType] | None = Field(default=None, min_length=1, max_length=50)
    instance_requirements: Requirements | None = None
    image: str = Field(pattern=r"^(ami-[0-9a-f]{8,17}|resolve:ssm:[A-Za-z0-9/._:-]+)$")
    market: CapacityType = CapacityType.ON_DEMAND
    fallback_to_on_demand: bool = False
    vcpus: int | None = Field(default=None, ge=1, le=1024)
    root_device: str | None = Field(default=None, pattern=r"^/dev/[a-z0-9]+$")
    volume_gib: int | None = Field(default=None, ge=1, le=16384)
    max_instances: int | None = Field(default=None, ge=0)
    boot_timeout_seconds: int = Field(default=300, ge=30, le=3240)
    allow_instance_types: list[TypePattern] = Field(default_factory=list, max_length=50)
    allow_markets: list[CapacityType] = Field(default_factory=list, max_length=2)
    agent_tags: list[AgentTag] = Field(default_factory=list, max_length=50)

    @model_validator(mode="after")
    def _types_or_requirements(self) -> "ClassEntry":
        if (self.instance_types is None) == (self.instance_requirements is None):
            raise ValueError("needs either instance_types or instance_requirements")
        return self

    def to_class(self, name: str, shapes: InstanceCatalog) -> VmClass:
        """The domain's class; what it leaves open is asked of EC2."""
        if self.instance_requirements is not None:
            types = shapes.types(self.instance_requirements.to_domain(), self.market)
        else:
            types = tuple(dict.fromkeys(self.instance_types or ()))
        return VmClass(
            name=ClassName(name),
            instance_types=types,
            ordered=self.instance_requirements is None,
            image=self.image,
            capacity_type=self.market,
            fallback=self.fallback_to_on_demand,
            vcpus=self.vcpus,
            root_device=self.root_device or self._looked_up(shapes),
            volume_gib=self.volume_gib,
            max_instances=self.max_instances,
            boot_timeout=timedelta(seconds=self.boot_timeout_seconds),
            allowed_types=tuple(self.allow_instance_types),
            allowed_capacity_types=frozenset(self.allow_markets),
            agent_tags=tuple(self.agent_tags),
        )

    def _looked_up(self, shapes: InstanceCatalog) -> str | None:
        """The image's root device, needed whatever the volume's size, for it is encrypted under that name.

        Where the size is the image's own, an image that is not there is left to the launch: it breaks only this class.
        """
        try:
            return shapes.root_device(self.image)
        except ConfigurationError:
            if self.volume_gib is not None:
                raise
            return None


class ClassDocument(BaseModel):
    """The whole document."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    editor_schema: str | None = Field(
        default=None, alias="$schema", description="For editors; the stack does not read it.", exclude=True
    )
    classes: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")], ClassEntry] = Field(min_length=1)
    default_class: str

    @model_validator(mode="after")
    def _the_default_exists(self) -> "ClassDocument":
        if self.default_class not in self.classes:
            raise ValueError(
                f"default_class {self.default_class!r} is not one of the classes: {', '.join(self.classes)}"
            )
        return self

    def to_book(self, deployment_tags: tuple[str, ...], shapes: InstanceCatalog) -> ClassBook:
        """The domain's classes."""
        return ClassBook(
            classes={ClassName(name): entry.to_class(name, shapes) for name, entry in self.classes.items()},
            default=ClassName(self.default_class),
            deployment_tags=deployment_tags,
        )


def read_classes(text: str, *, name: str, deployment_tags: tuple[str, ...], shapes: InstanceCatalog) -> ClassBook:
    """The classes in that document.

    Args:
        shapes: asked for what the document leaves to EC2.
        name: of the parameter that holds it, for the message.

    Raises:
        ConfigurationError: names the parameter, the field and the remedy.
        AgentStackError: EC2 could not be asked.
    """
    try:
        return ClassDocument.model_validate(json.loads(text)).to_book(deployment_tags, shapes)
    except json.JSONDecodeError as error:
        problem = f"the document is not JSON (line {error.lineno}, column {error.colno}: {error.msg})"
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        problem = f"{where}: {first['msg']}"
    raise ConfigurationError(
        setting=SETTING,
        value=name,
        problem=problem,
        remedy="Correct the document in that parameter; docs/classes.md shows every field.",
    )
