"""The member `instance_requirements` of a class, as the operator writes it."""

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from agent_stack.adapters.ssm.entry_values import Entry
from agent_stack.domain.classes import InstanceRequirements

Choice = Literal["excluded", "included", "required"]


class Requirements(Entry):
    """Attributes in place of types; EC2 says which types have them.

    Accelerators (GPUs and the like), bare metal and previous generations come only when they are asked for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Literal["x86_64", "arm64"]
    vcpus_min: int = Field(ge=1, le=1024)
    vcpus_max: int | None = Field(default=None, ge=1, le=1024)
    memory_gib_min: int = Field(ge=1, le=32768)
    memory_gib_max: int | None = Field(default=None, ge=1, le=32768)
    accelerators: Choice = "excluded"
    bare_metal: Choice = "excluded"
    previous_generations: bool = False

    @model_validator(mode="after")
    def _ranges_are_not_empty(self) -> "Requirements":
        for name in ("vcpus", "memory_gib"):
            least, most = getattr(self, f"{name}_min"), getattr(self, f"{name}_max")
            if most is not None and most < least:
                raise ValueError(f"{name}_max is less than {name}_min")
        return self

    def to_domain(self) -> InstanceRequirements:
        """The domain's value."""
        return InstanceRequirements(**self.model_dump())
