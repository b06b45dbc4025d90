"""The operator's class document: JSON, checked field by field, turned into the domain's classes."""

import json
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent_stack.domain.classes import ClassBook, VmClass
from agent_stack.domain.errors import ConfigurationError
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.states import Market

SETTING = "ClassesParameter"

InstanceType = Annotated[str, Field(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$")]
AgentTag = Annotated[str, Field(pattern=r"^[A-Za-z0-9._/:@+-]+=[A-Za-z0-9._/:@+*-]+$", max_length=200)]


class ClassEntry(BaseModel):
    """One class as the operator writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    instance_types: list[InstanceType] = Field(min_length=1, max_length=50)
    image: str = Field(pattern=r"^(ami-[0-9a-f]{8,17}|resolve:ssm:[A-Za-z0-9/._:-]+)$")
    market: Market = Market.ON_DEMAND
    fallback_to_on_demand: bool = False
    vcpus: int | None = Field(default=None, ge=1, le=1024)
    root_device: str | None = Field(default=None, pattern=r"^/dev/[a-z0-9]+$")
    volume_gib: int | None = Field(default=None, ge=1, le=16384)
    max_instances: int | None = Field(default=None, ge=0)
    boot_timeout_seconds: int = Field(default=300, ge=30, le=3240)
    agent_tags: list[AgentTag] = Field(default_factory=list, max_length=50)

    @model_validator(mode="after")
    def _a_volume_has_a_device(self) -> "ClassEntry":
        if self.volume_gib is not None and self.root_device is None:
            raise ValueError("volume_gib needs root_device: under another name EC2 would add a second disk")
        return self

    def to_class(self, name: str) -> VmClass:
        """The domain's class."""
        return VmClass(
            name=ClassName(name),
            instance_types=tuple(dict.fromkeys(self.instance_types)),
            image=self.image,
            market=self.market,
            fallback=self.fallback_to_on_demand,
            vcpus=self.vcpus,
            root_device=self.root_device,
            volume_gib=self.volume_gib,
            max_instances=self.max_instances,
            boot_timeout=timedelta(seconds=self.boot_timeout_seconds),
            agent_tags=tuple(self.agent_tags),
        )


class ClassDocument(BaseModel):
    """The whole document."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")], ClassEntry] = Field(min_length=1)
    default_class: str

    @model_validator(mode="after")
    def _the_default_exists(self) -> "ClassDocument":
        if self.default_class not in self.classes:
            raise ValueError(
                f"default_class {self.default_class!r} is not one of the classes: {', '.join(self.classes)}"
            )
        return self

    def to_book(self, deployment_tags: tuple[str, ...]) -> ClassBook:
        """The domain's classes."""
        return ClassBook(
            classes={ClassName(name): entry.to_class(name) for name, entry in self.classes.items()},
            default=ClassName(self.default_class),
            deployment_tags=deployment_tags,
        )


def read_classes(text: str, *, name: str, deployment_tags: tuple[str, ...]) -> ClassBook:
    """The classes in that document.

    Args:
        name: of the parameter that holds it, for the message.

    Raises:
        ConfigurationError: names the parameter, the field and the remedy.
    """
    try:
        return ClassDocument.model_validate(json.loads(text)).to_book(deployment_tags)
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
