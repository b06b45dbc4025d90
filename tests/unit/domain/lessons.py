"""Answers of EC2 as the tests of what they teach make them."""

from datetime import datetime, timedelta

from agent_stack.domain.answers import Answer
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import VmClass
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.launching import LaunchError, LaunchOutcome
from agent_stack.domain.lessons import learn
from agent_stack.domain.quota_room import capacity_types_of
from agent_stack.domain.states import CapacityType
from tests.simulator.clock import EPOCH
from tests.unit.values import a_vm

NAME, OTHER = ClassName("default"), ClassName("other")
TYPES, ZONES = ("m7i.large", "m6i.large"), ("a", "b")
POOLS = {kind: tuple(f"{kind}:{one}:{zone}" for one in TYPES for zone in ZONES) for kind in CapacityType}


def at(seconds: float) -> datetime:
    """So many seconds after the beginning."""
    return EPOCH + timedelta(seconds=seconds)


def a_class(name: ClassName = NAME, **changes: object) -> VmClass:
    """A class of these types."""
    return VmClass(**{"name": name, "instance_types": TYPES, "image": "ami-1", **changes})  # type: ignore[arg-type]  # a class's own fields


def answered(
    memory: LaunchMemory,
    *errors: LaunchError,
    launched: int = 0,
    count: int = 1,
    vm_class: VmClass | None = None,
    capacity_type: CapacityType | None = None,
    after: float = 0.0,
    jitter: float = 0.5,
    other_classes: bool = True,
) -> LaunchMemory:
    """What is known after that answer."""
    asking = vm_class or a_class()
    kind = capacity_type or asking.capacity_type
    vms = tuple(a_vm(number + 1) for number in range(launched))
    pools = [
        f"{kind}:{one}:{zone}" for kind in capacity_types_of(asking) for one in asking.instance_types for zone in ZONES
    ]
    answer = Answer(
        vm_class=asking,
        capacity_type=kind,
        outcome=LaunchOutcome(
            vms=vms,
            errors=errors,
            asked=tuple(pool for pool in pools if pool.startswith(f"{kind}:")),
            count=count,
        ),
        all_pools=pools,
        now=at(after),
        jitter=jitter,
        vcpus={"m7i.large": 2, "m6i.large": 2, "m7i.4xlarge": 16},
        other_classes=other_classes,
    )
    return learn(memory, answer)
