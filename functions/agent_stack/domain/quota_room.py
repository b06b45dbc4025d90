"""How many VMs of a class the vCPU quotas leave room for now, and whose turn it is in a full one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from agent_stack.domain.classes import VmClass
from agent_stack.domain.identifiers import Bucket, ClassName, JobId
from agent_stack.domain.quota_buckets import bucket_of, bucket_of_pool
from agent_stack.domain.quotas import OLDEST_FIRST_AFTER, Ceiling
from agent_stack.domain.states import CapacityType


@dataclass(frozen=True, slots=True, kw_only=True)
class Applicant:
    """A job that waits for a VM, reserved or not.

    Attributes:
        sizes: the quotas that its VM can come under, with the vCPUs of the smallest in each.
    """

    job_id: JobId
    class_name: ClassName
    priority: int
    since: datetime
    sizes: Mapping[Bucket, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaRoom:
    """The quotas of one cycle.

    Attributes:
        vcpus: by instance type; one that is not known counts as one.
        busy: quotas in which a launch of ours is not answered yet.
        turns: the class whose oldest job has the next room, by quota.
    """

    quotas: Mapping[Bucket, Ceiling]
    vcpus: Mapping[str, int]
    now: datetime
    busy: frozenset[Bucket] = frozenset()
    turns: Mapping[Bucket, ClassName] = field(default_factory=dict)

    def sizes(self, vm_class: VmClass) -> Mapping[Bucket, int]:
        """The quotas that a class's VMs can come under, with the vCPUs of its smallest type in each."""
        found: dict[Bucket, int] = {}
        for kind in capacity_types_of(vm_class):
            for instance_type in vm_class.instance_types:
                bucket, size = bucket_of(instance_type, kind), self.vcpus.get(instance_type, 1)
                found[bucket] = min(size, found.get(bucket, size))
        return found

    def is_full(self, vm_class: VmClass) -> bool:
        """Whether no VM of that class fits under any of its quotas."""
        if not self.quotas:
            return False
        sizes = self.sizes(vm_class)
        return all(bucket in self.quotas and self.quotas[bucket].is_full(size) for bucket, size in sizes.items())

    def full_of(self, vm_class: VmClass) -> tuple[Bucket, Ceiling] | None:
        """The quota that keeps that class back, the class's own capacity type first; None when one has room."""
        if not self.is_full(vm_class):
            return None
        bucket = next(iter(self.sizes(vm_class)))
        return bucket, self.quotas[bucket]

    def allowed(self, vm_class: VmClass) -> int | None:
        """How many VMs of that class may be asked for now; None for no bound."""
        if not self.quotas:
            return None
        rooms = [self._room(vm_class.name, bucket, size) for bucket, size in self.sizes(vm_class).items()]
        return None if any(room is None for room in rooms) else max((room or 0 for room in rooms), default=0)

    def allows(self, vm_class: VmClass, pool: str) -> bool:
        """Whether that pool may be asked for one VM of that class now."""
        if not self.quotas:
            return True
        room = self._room(vm_class.name, bucket_of_pool(pool), self.vcpus.get(pool.split(":")[1], 1))
        return room is None or room > 0

    def limit(self, vm_class: VmClass, pools: Iterable[str]) -> int | None:
        """How many VMs one request for these pools may ask for; None for no bound."""
        rooms = [
            self._room(vm_class.name, bucket_of_pool(pool), self.vcpus.get(pool.split(":")[1], 1)) for pool in pools
        ]
        return None if any(room is None for room in rooms) else max((room or 0 for room in rooms), default=0)

    def _room(self, name: ClassName, bucket: Bucket, vcpus: int) -> int | None:
        ceiling = self.quotas.get(bucket)
        if ceiling is None:
            return None
        turn = self.turns.get(bucket)
        if bucket in self.busy or turn not in (None, name):
            return 0
        room = ceiling.vms_allowed(vcpus, self.now)
        return min(room, 1) if turn is not None else room


def turns_of(
    quotas: Mapping[Bucket, Ceiling], applicants: Iterable[Applicant], now: datetime
) -> Mapping[Bucket, Applicant]:
    """Who has the next room of each quota: the first in line, once it has waited for long."""
    first: dict[Bucket, Applicant] = {}
    for one in sorted(applicants, key=lambda one: (-one.priority, one.since, one.job_id)):
        for bucket, size in one.sizes.items():
            if bucket in quotas and quotas[bucket].is_worth_a_turn(size):
                first.setdefault(bucket, one)
    return {bucket: one for bucket, one in first.items() if now - one.since >= OLDEST_FIRST_AFTER}


def capacity_types_of(vm_class: VmClass) -> tuple[CapacityType, ...]:
    """Those that a class may be asked for, its own first."""
    own = vm_class.capacity_type
    return (own, CapacityType.ON_DEMAND) if vm_class.fallback and own is not CapacityType.ON_DEMAND else (own,)
