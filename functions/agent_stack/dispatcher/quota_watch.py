"""Watches the quotas that are full: what of this deployment stands under them, by EC2's list, and what they leave.

EC2 is looked at beside the cycle, every few seconds, and only while a quota keeps jobs waiting. It is looked at each
second after an idle VM was closed because of a quota: the VM ends within a second or two, and a job waits for its room.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.dispatcher.vcpu_cache import VcpuCache
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import ClassBook
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import Bucket
from agent_stack.domain.moments import has_passed
from agent_stack.domain.quota_buckets import bucket_of
from agent_stack.domain.quota_room import Applicant, QuotaRoom, turns_of
from agent_stack.domain.quotas import Ceiling
from agent_stack.domain.runs import Binding, Run
from agent_stack.domain.standby import StandbyVm
from agent_stack.domain.states import UP, Moment
from agent_stack.domain.vms import Vm
from agent_stack.outages import Outages
from agent_stack.ports import Fleet, Task, Telemetry, Workers

LOOK_EVERY = timedelta(seconds=5)
LOOK_SOON = timedelta(seconds=1)
SOON_FOR = timedelta(seconds=20)
NOT_SHOWN_YET = timedelta(minutes=2)
"""A VM that EC2 does not show is taken for a fresh one for so long."""

_LIST = "EC2's list"


@dataclass(slots=True, kw_only=True)
class QuotaWatch:
    """One process's looks."""

    fleet: Fleet
    in_flight: InFlightLaunches
    vcpus: VcpuCache
    workers: Workers
    telemetry: Telemetry
    _look: tuple[datetime, Task[Sequence[Vm]]] | None = field(default=None, init=False)
    _looked_at: datetime | None = field(default=None, init=False)
    _expects_since: datetime | None = field(default=None, init=False)
    _outages: Outages = field(default_factory=Outages, init=False, repr=False)

    def watch(self, cycle: DispatcherCycle, memory: LaunchMemory, fresh: Iterable[Vm] = ()) -> LaunchMemory:
        """What is known of the quotas after EC2's list, where a new one is there.

        Args:
            fresh: VMs that EC2 has just launched, which the list may not show yet.
        """
        book = cycle.book
        if book is None or not memory.quotas:
            return memory
        self.vcpus.want(self._types(cycle, book), cycle.now)
        vms = self._collect()
        every = LOOK_EVERY if has_passed(SOON_FOR, self._expects_since, cycle.now) else LOOK_SOON
        if self._look is None and has_passed(every, self._looked_at, cycle.now):
            self._looked_at = cycle.now
            self._look = (cycle.now, self.workers.submit(self.fleet.describe))
        return memory if vms is None else replace(memory, quotas=self._seen(vms, fresh, cycle, book, memory))

    def expect_an_end(self, now: datetime) -> None:
        """A VM of this deployment was closed because of a quota, so the next looks come sooner."""
        self._expects_since = now

    def room(self, cycle: DispatcherCycle, memory: LaunchMemory, waiting: Iterable[Applicant] = ()) -> QuotaRoom:
        """The quotas' room in this cycle.

        Args:
            waiting: jobs that are not reserved yet.
        """
        if cycle.book is None or not memory.quotas:
            return QuotaRoom(quotas=memory.quotas, vcpus=self.vcpus.known, now=cycle.now)
        book, bare = cycle.book, QuotaRoom(quotas=memory.quotas, vcpus=self.vcpus.known, now=cycle.now)
        applicants = [*(self.applicant(run, book, bare) for run in cycle.active if run.binding is None), *waiting]
        turns = turns_of(memory.quotas, [one for one in applicants if one is not None], cycle.now)
        busy = {
            bucket
            for intent in self.in_flight.intents
            if (vm_class := book.find(intent.class_name)) is not None
            for bucket in bare.sizes(vm_class)
            if intent.capacity_type is None or bucket.startswith(f"{intent.capacity_type}:")
        }
        names = {bucket: one.class_name for bucket, one in turns.items()}
        return replace(bare, busy=frozenset(busy), turns=names)

    @staticmethod
    def applicant(run: Run, book: ClassBook, room: QuotaRoom) -> Applicant | None:
        """A reserved run as one that waits for room."""
        vm_class = book.find(run.class_name)
        if vm_class is None or run.failure_reason is not None:
            return None
        return Applicant(
            job_id=run.job_id,
            class_name=run.class_name,
            priority=run.priority,
            since=run.timeline.get(Moment.SCHEDULED, run.state_entered_at),
            sizes=room.sizes(vm_class),
        )

    def _collect(self) -> Sequence[Vm] | None:
        if self._look is None or not self._look[1].done():
            return None
        _, task = self._look
        self._look = None
        try:
            vms = task.result()
        except AgentStackError as error:
            self._outages.passing(_LIST, self.telemetry, "vms_unknown", error=str(error))
            return None
        self._outages.is_over(_LIST)
        return vms

    def _seen(
        self, vms: Sequence[Vm], fresh: Iterable[Vm], cycle: DispatcherCycle, book: ClassBook, memory: LaunchMemory
    ) -> Mapping[Bucket, Ceiling]:
        types: dict[Bucket, list[str]] = defaultdict(list)
        up = [vm for vm in vms if vm.state in UP]
        shown = {vm.instance_id for vm in vms}
        hidden = {one.instance_id: one for one in (*_known(cycle), *fresh) if one.instance_id not in shown}
        for one in (*up, *(one for one in hidden.values() if cycle.now - one.launched_at < NOT_SHOWN_YET)):
            types[bucket_of(one.instance_type, one.capacity_type)].append(one.instance_type)
        room = QuotaRoom(quotas=memory.quotas, vcpus=self.vcpus.known, now=cycle.now)
        waiting = {run.class_name for run in cycle.active if run.binding is None and run.failure_reason is None}
        classes = [vm_class for name in waiting if (vm_class := book.find(name)) is not None]
        full = {
            bucket
            for vm_class in classes
            for bucket, size in room.sizes(vm_class).items()
            if bucket in memory.quotas and memory.quotas[bucket].is_full(size)
        }
        quotas = {}
        for bucket, ceiling in memory.quotas.items():
            sizes = [self.vcpus.known.get(one) for one in types[bucket]]
            total = None if None in sizes else sum(size or 0 for size in sizes)
            quotas[bucket] = ceiling.seen(vms=len(sizes), vcpus=total, now=cycle.now, full=bucket in full)
        return quotas

    @staticmethod
    def _types(cycle: DispatcherCycle, book: ClassBook) -> list[str]:
        names = {run.class_name for run in cycle.active} | {name for _, name in cycle.admitted} | set(book.classes)
        bound = [run.binding.instance_type for run in cycle.active if run.binding is not None]
        classes = [vm_class for name in sorted(names) if (vm_class := book.find(name)) is not None]
        return [*bound, *(one for vm_class in classes for one in vm_class.instance_types)]


def _known(cycle: DispatcherCycle) -> Iterator[Binding | Vm | StandbyVm]:
    """The VMs of runs, those that can be bound to one, and those that stand by."""
    yield from (run.binding for run in cycle.active if run.binding is not None)
    for idle in cycle.idle_vms.values():
        yield from idle
    for standby in cycle.standby.values():
        yield from standby
