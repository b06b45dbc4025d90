"""Which jobs have their place within every bound, and why the next ones have not."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.vcpu_cache import CountedVcpus
from agent_stack.domain.budgets import LOOK_AHEAD
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import ClassBook, VmClass, base_name
from agent_stack.domain.identifiers import Bucket, ClassName, QueueKey
from agent_stack.domain.jobs import Job
from agent_stack.domain.policy import Policy
from agent_stack.domain.quota_buckets import bucket_of
from agent_stack.domain.quota_room import QuotaRoom, capacity_types_of
from agent_stack.domain.runs import Run
from agent_stack.domain.waiting import MAX_LISTED, Waiting, WaitReason, waits

Candidate = tuple[Job, ClassName]

OF_EVERY_JOB = (WaitReason.MAX_INSTANCES, WaitReason.CYCLE_ROOM)
"""Bounds that hold for a job on a standby VM, too. The others are of launches."""


@dataclass(slots=True, kw_only=True)
class Admission:
    """One cycle's count of what is taken, as jobs are admitted one by one."""

    cycle: DispatcherCycle
    book: ClassBook
    memory: LaunchMemory
    quotas: QuotaRoom
    vcpus: CountedVcpus
    policy: Policy
    room: int
    """How many jobs this cycle can work on besides."""
    _by_class: Counter[ClassName] = field(default_factory=Counter, init=False)
    _without_vm: dict[ClassName, list[int]] = field(default_factory=lambda: defaultdict(list), init=False)
    _vcpus_used: int = field(default=0, init=False)
    _hot: Counter[ClassName] = field(default_factory=Counter, init=False)
    """Standby VMs that no run takes."""
    lacking: set[tuple[ClassName, WaitReason]] = field(default_factory=set, init=False)
    """Why jobs are not admitted, by class."""

    def cut(self, candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[Waiting]]:
        """The jobs that are admitted, queue by queue in turn; and why the next ones are not."""
        live = [run for run in self.cycle.active if run.takes_room]
        self._hot.update({name: len(vms) for name, vms in self.cycle.standby.items()})
        self._count(live)
        # A run that EC2 gives nothing to takes no place from jobs of other classes; launches are bounded by VMs anyway.
        stuck = {name for name in {run.class_name for run in live if run.binding is None} if self._keeps_back(name)}
        launchable = [run for run in live if run.binding is not None or run.class_name not in stuck]
        waiting = sum(run.binding is None for run in launchable)
        now, policy = self.cycle.now, self.policy
        bounds = {
            WaitReason.MAX_INSTANCES: policy.max_instances - len(launchable),
            WaitReason.EC2_BUDGET: self.memory.granted(policy.instance_budget, now, LOOK_AHEAD) - waiting,
            WaitReason.CYCLE_ROOM: self.room,
            WaitReason.LAUNCH_RATE: policy.max_launches_per_minute - self.memory.asked_within_a_minute(now) - waiting,
        }
        admitted: list[Candidate] = []
        kept: list[Waiting] = []
        cold = 0  # a job that a standby VM waits for needs no launch
        for job, name in in_turn(candidates):
            hot = self._hot[name] > 0
            taken = {reason: len(admitted) if reason in OF_EVERY_JOB else cold for reason in bounds}
            binding = OF_EVERY_JOB if hot else bounds
            tightest = min(binding, key=lambda reason: bounds[reason] - taken[reason])
            if taken[tightest] >= bounds[tightest]:
                self.lacking.add((name, tightest))
                if len(kept) >= MAX_LISTED:
                    break
                kept += waits(job, name, tightest, now)
                continue
            why = self._why_not(job, name, hot=hot)
            if why is not None:
                self.lacking.add((name, why[0]))
                kept += waits(job, name, why[0], now, why[1])
                continue
            admitted.append((job, name))
            cold += not hot
            self._take(job, name)
        return admitted, kept

    def _count(self, live: Sequence[Run]) -> None:
        for name, runs in Counter(run.class_name for run in live).items():
            self._by_class[base_name(name)] += runs
        for run in (run for run in live if run.binding is None):
            self._without_vm[run.class_name].append(run.priority)
            self._hot[run.class_name] -= run.may_stand_by
        if self.policy.max_vcpus is not None:
            self._vcpus_used += sum(map(self.vcpus.of_run, live))

    def _take(self, job: Job, name: ClassName) -> None:
        self._by_class[base_name(name)] += 1
        self._hot[name] -= 1
        self._without_vm[name].append(job.priority)
        self._vcpus_used += self.vcpus.of(name)

    def _why_not(self, job: Job, name: ClassName, *, hot: bool) -> tuple[WaitReason, str] | None:
        vm_class = self.book.find(name)
        bound = self.book.classes[base_name(name)].max_instances
        breaker = self.memory.breaker(name, self.cycle.now)
        if bound is not None and self._by_class[base_name(name)] >= bound:
            return WaitReason.CLASS_MAXIMUM, str(bound)
        unknown = self.vcpus.unknown(name)  # a size that is not known is not guessed
        if unknown is not None:
            return WaitReason.BROKEN, unknown
        if (lack := self._lacks_vcpus(name)) is not None:
            return lack
        if hot or vm_class is None:
            return None  # a standby VM is up, whatever EC2 refuses now
        if breaker is not None:
            return WaitReason.BROKEN, breaker.message
        return self._why_refused(vm_class) or self._why_no_quota(job, vm_class)

    def _lacks_vcpus(self, name: ClassName) -> tuple[WaitReason, str] | None:
        most, size = self.policy.max_vcpus, self.vcpus.of(name)
        if most is None or self._vcpus_used + size <= most:
            return None
        if size <= most:
            return WaitReason.MAX_VCPUS, ""
        remedy = "Raise MaxVcpus, or name smaller types"
        return WaitReason.BROKEN, f"a VM of it has up to {size} vCPUs, and MaxVcpus is {most}. {remedy}"

    def _why_refused(self, vm_class: VmClass) -> tuple[WaitReason, str] | None:
        """Requests of the class keep failing as a whole: one job at a time finds out whether they still do."""
        now, name = self.cycle.now, vm_class.name
        kinds = capacity_types_of(vm_class)
        failing = [kind for kind in kinds if (one := self.memory.backoff(name, kind)) is not None and one.failures]
        if len(failing) < len(kinds):
            return None
        if self._without_vm[name] or not any(self.memory.may_ask(name, kind, now) for kind in kinds):
            backoff = self.memory.backoff(name, failing[0])
            return WaitReason.REFUSED, backoff.message if backoff is not None else ""
        return None

    def _why_no_quota(self, job: Job, vm_class: VmClass) -> tuple[WaitReason, str] | None:
        """A full quota takes nothing more but what is more urgent than all that wait for it already."""
        allowed = self.quotas.allowed(vm_class)
        if allowed is None:
            return None
        buckets = self.quotas.sizes(vm_class).keys()
        ahead: list[int] = []
        rivals = 0
        for name, priorities in self._without_vm.items():
            other = self.book.find(name)
            if other is None or not self.quotas.sizes(other).keys() & buckets:
                continue
            ahead += priorities
            if not self.quotas.is_full(other):  # a large VM that does not fit leaves the room to a small one
                rivals += len(priorities)
        if rivals < allowed + self._preemptible(vm_class, buckets) or (ahead and job.priority > max(ahead)):
            return None
        found = [(bucket, self.quotas.quotas[bucket]) for bucket in buckets if bucket in self.quotas.quotas]
        return WaitReason.QUOTA, found[0][1].words(found[0][0]) if found else ""

    def _preemptible(self, vm_class: VmClass, buckets: Collection[Bucket]) -> int:
        """How many standby VMs of other classes make room in these quotas, once a job is there that needs it."""
        return sum(
            bucket_of(vm.instance_type, vm.capacity_type) in buckets
            for name, vms in self.cycle.standby.items()
            if name != vm_class.name
            for vm in vms
        )

    def _keeps_back(self, name: ClassName) -> bool:
        """Whether EC2 gives nothing to that class for now."""
        vm_class, now = self.book.find(name), self.cycle.now
        if vm_class is None:
            return False
        if self.memory.breaker(name, now) is not None or self.quotas.is_full(vm_class):
            return True
        kinds = capacity_types_of(vm_class)
        return all((one := self.memory.backoff(name, kind)) is not None and one.failures > 0 for kind in kinds)


def in_turn(candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    """One job of each queue in turn, each queue in its own order: a full queue does not starve the others."""
    by_queue: dict[QueueKey, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        by_queue[candidate[0].queue_key].append(candidate)
    for row in zip_longest(*by_queue.values()):
        yield from (candidate for candidate in row if candidate is not None)
