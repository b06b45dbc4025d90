"""One answer of EC2 to a launch, with what is needed to understand it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from agent_stack.domain.backoff import backoff_key
from agent_stack.domain.classes import VmClass, base_name
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.launching import LaunchOutcome
from agent_stack.domain.states import CapacityType


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer to a launch, with what is needed to understand it.

    Attributes:
        all_pools: every pool of the class, of each capacity type that it may use, unavailable ones included.
        vcpus: of one VM by instance type; a type that is not known counts as one.
        jitter: a number in [0, 1).
        other_classes: whether the deployment has more than this class.
    """

    vm_class: VmClass
    capacity_type: CapacityType
    outcome: LaunchOutcome
    all_pools: Sequence[str]
    now: datetime
    jitter: float
    vcpus: Mapping[str, int]
    other_classes: bool = True

    @property
    def key(self) -> str:
        """Of its backoff."""
        return backoff_key(self.vm_class.name, self.capacity_type)

    @property
    def base(self) -> ClassName:
        """The operator's name of the class."""
        return base_name(self.vm_class.name)

    @property
    def may_fall_back(self) -> bool:
        """Whether the class has another capacity type to go to."""
        return self.capacity_type is CapacityType.SPOT and self.vm_class.fallback
