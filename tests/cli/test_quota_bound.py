"""How many VMs of a bucket's classes a stack may have, which is what `doctor` compares a quota with."""

from types import SimpleNamespace
from typing import Any

import pytest

from agent_stack.domain.classes import VmClass
from agent_stack.domain.identifiers import ClassName
from agent_stack_cli.quota_findings import bound

NO_BOUND = None


def vm_class(name: str, most: int | None) -> VmClass:
    return VmClass(
        name=ClassName(name), instance_types=("m7i.large",), image="ami-0123456789abcdef0", max_instances=most
    )


@pytest.mark.parametrize(
    ("max_vcpus", "of_a", "of_b", "expected"),
    [
        (NO_BOUND, NO_BOUND, NO_BOUND, (50, "MaxInstances")),
        (NO_BOUND, 3, NO_BOUND, (50, "MaxInstances")),
        (NO_BOUND, 3, 4, (7, "max_instances of these classes")),
        (NO_BOUND, 40, 40, (50, "MaxInstances")),
        (21, NO_BOUND, NO_BOUND, (10, "MaxVcpus")),
        (21, 1, 2, (3, "max_instances of these classes")),
        (400, NO_BOUND, NO_BOUND, (50, "MaxInstances")),
    ],
)
def test_the_smallest_of_all_bounds_counts(
    max_vcpus: int | None, of_a: int | None, of_b: int | None, expected: tuple[int, str]
) -> None:
    policy: Any = SimpleNamespace(max_instances=50, max_vcpus=max_vcpus)
    found = bound([(vm_class("a", of_a), 2), (vm_class("b", of_b), 8)], policy)
    assert (found.most, found.setting) == expected
