"""Cycle: what one dispatcher cycle carries from step to step. One step writes each field; later steps read it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_stack.domain.classes import ClassBook
from agent_stack.domain.identifiers import ClassName, InstanceId, JobId, QueueKey
from agent_stack.domain.jobs import Job, ScheduledPage
from agent_stack.domain.launching import Intent
from agent_stack.domain.pauses import OperatorPause
from agent_stack.domain.runs import Run
from agent_stack.domain.standby import StandbyVm
from agent_stack.domain.standby_pairs import Supply
from agent_stack.domain.vms import Vm
from agent_stack.domain.waiting import Waiting, WaitReason
from agent_stack.ports import Task

FIRST_ROOM = 1_000
"""Jobs of a cycle whose process has measured none: Buildkite reserves as many in one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherCycle:
    """One pass over the queues.

    Attributes:
        fence: the fencing number of the lease that the dispatcher holds.
        began: when the cycle began, by the monotonic clock.
        room: previous cycles → how many jobs this cycle works on: it reserves or binds each.
        expected_launches: previous cycle → how many VMs it needed; this cycle probably needs some, too.
        paused_before: previous cycle → the queues that were paused; None when unknown under this lease.
        begun_before: previous cycle → the jobs that it admitted or refused; None when it is not known.
        vm_listing: recover, admit → EC2's list of VMs, requested beside the cycle; None when not requested.
        subnet_look: recover, admit → a look at the subnets, beside a cycle that launches without a look at the VMs.
        first_pages: recover → the first page of each queue, requested beside the cycle; empty when not requested.
        book: recover → the current classes.
        active: recover → all runs that have not ended.
        unconfirmed: recover → how many more VMs may exist: launches without an answer, or VMs that EC2 does not show.
        unconfirmed_by_class: recover → how many VMs of each class the launches without an answer may have created.
        types_on_their_way: recover → with MaxVcpus, the instance types of the VMs that open launches may bring or have
            brought, by class: the class may name others by now, or may be gone.
        idle_vms: recover, launch → VMs without a run that can be bound now, by class.
        standby_launches: recover → launches of standby VMs that EC2 has answered, whose VMs are not on the list yet.
        standby_unconfirmed: recover, list standby → how many standby VMs of each class launches without an answer may
            have created, and those that could not be put on the list; launch adds those whose answer was just lost.
        standby_unlisted: list standby → the VMs that could not be put on the list.
        standby: find standby → the standby VMs that can be bound now, by class, in the order in which jobs take them.
        standby_ids: find standby → all VMs on the list, also those that are closed, and those that could not be put on
            it; None when they are not known.
        paused: poll → queues whose jobs must not start, paused at Buildkite or by the stack's operator.
        operator_paused: poll → those of them that the stack's operator paused.
        clogging: poll → queues whose API returns only one page; a job that no class fits hides the jobs behind it.
        listed: poll → scheduled jobs.
        fitting: admit → listed jobs that match a class and whose queue is not paused, admitted or not.
        work_began: admit → when the cycle had read everything, by the monotonic clock.
        admitted: admit → jobs to start, each with its class.
        refused: admit → jobs to fail, each with the reason.
        waiting: admit → jobs that have waited for long, first in line first, each with the reason.
        lacking: admit → the reasons for which jobs were not admitted, with their classes.
        unmatched: admit → jobs that no class fits and that wait for long, those whose turn on the list it is.
        unmatched_jobs: admit → how many jobs no class fits.
        recorded: record → the runs that the ledger accepted.
        reserved: reserve → how many jobs it asked Buildkite for.
        ready: reserve → the runs whose job is reserved and that need a VM now.
        launching: launch → VMs requested, whose answer from EC2 is not collected yet.
        coming: launch → VMs of each class that were asked for because of jobs, and are not there yet.
        unmet: launch → how many VMs of each class the runs need that were not asked for in this cycle.
        held_back: launch → the classes of which VMs were not asked for because of MaxVcpus or the class's own maximum.
        standby_answered: launch → standby VMs of each class that EC2 has just launched.
        wanted_launches: launch → how many VMs the runs without a VM needed.
        bound: bind → the runs that got a VM.
    """

    now: datetime
    fence: int
    began: timedelta = timedelta()
    room: int = FIRST_ROOM
    expected_launches: int = 0
    paused_before: frozenset[QueueKey] | None = None
    begun_before: frozenset[JobId] | None = None
    vm_listing: Task[Sequence[Vm]] | None = None
    subnet_look: Task[None] | None = None
    first_pages: Mapping[QueueKey, Task[ScheduledPage]] = field(default_factory=dict)
    book: ClassBook | None = None
    active: tuple[Run, ...] = ()
    unconfirmed: int = 0
    unconfirmed_by_class: Mapping[ClassName, int] = field(default_factory=dict)
    types_on_their_way: Mapping[ClassName, frozenset[str]] = field(default_factory=dict)
    idle_vms: Mapping[ClassName, tuple[Vm, ...]] = field(default_factory=dict)
    standby_launches: tuple[Intent, ...] = ()
    standby_unconfirmed: Mapping[ClassName, int] = field(default_factory=dict)
    standby_unlisted: frozenset[InstanceId] = frozenset()
    standby: Mapping[ClassName, tuple[StandbyVm, ...]] = field(default_factory=dict)
    standby_ids: frozenset[InstanceId] | None = frozenset()
    paused: frozenset[QueueKey] = frozenset()
    operator_paused: Mapping[QueueKey, OperatorPause] = field(default_factory=dict)
    clogging: frozenset[QueueKey] = frozenset()
    listed: tuple[Job, ...] = ()
    fitting: tuple[Job, ...] = ()
    work_began: timedelta = timedelta()
    admitted: tuple[tuple[Job, ClassName], ...] = ()
    refused: tuple[tuple[Job, str], ...] = ()
    waiting: tuple[Waiting, ...] = ()
    lacking: frozenset[tuple[ClassName, WaitReason]] = frozenset()
    unmatched: tuple[Waiting, ...] = ()
    unmatched_jobs: int = 0
    recorded: tuple[Run, ...] = ()
    reserved: int = 0
    ready: tuple[Run, ...] = ()
    launching: int = 0
    coming: Mapping[ClassName, int] = field(default_factory=dict)
    unmet: Mapping[ClassName, int] = field(default_factory=dict)
    held_back: Mapping[ClassName, WaitReason] = field(default_factory=dict)
    standby_answered: Mapping[ClassName, int] = field(default_factory=dict)
    wanted_launches: int = 0
    bound: tuple[Run, ...] = ()

    def supply(self, name: ClassName) -> Supply:
        """The VMs of that class that have no job."""
        vm_class = None if self.book is None else self.book.find(name)
        lead = timedelta() if vm_class is None else vm_class.boot_timeout
        standby = self.standby.get(name, ())
        ready = [one.vm for one in standby if one.is_ready(self.now, lead)]
        idle = sorted(self.idle_vms.get(name, ()), key=lambda vm: (vm.launched_at, vm.instance_id))
        booting = [one.vm for one in standby if not one.is_ready(self.now, lead)]
        return Supply(ready=ready, idle=idle, coming=self.coming.get(name, 0), booting=booting)

    def types_of(self, name: ClassName) -> tuple[str, ...]:
        """All instance types that a VM of that class may have, one that is on its way included."""
        vm_class = None if self.book is None else self.book.find(name)
        return (*(() if vm_class is None else vm_class.instance_types), *self.types_on_their_way.get(name, ()))

    @property
    def begun(self) -> frozenset[JobId]:
        """The jobs that this cycle records."""
        return frozenset(job.job_id for job, _ in (*self.admitted, *self.refused))

    @property
    def busy(self) -> bool:
        """Whether the next second may bring progress."""
        return bool(self.admitted or self.refused or self.ready or self.launching)


DispatcherStep = Callable[[DispatcherCycle], DispatcherCycle]
