"""Admit: chooses the listed jobs that start now.

A job that is not admitted stays scheduled in Buildkite, because a reservation without a VM would only delay it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from agent_stack.dispatcher.admission import Admission
from agent_stack.dispatcher.capacity_cache import CapacityCache
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.cycle_room import FEWEST, room_after
from agent_stack.dispatcher.in_flight import InFlightLaunches
from agent_stack.dispatcher.quota_watch import QuotaWatch
from agent_stack.dispatcher.vcpu_cache import CountedVcpus, VcpuCache
from agent_stack.dispatcher.vm_prefetch import VmPrefetch
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.classes import BrokenClass, ClassBook, Unmatched, VmClass
from agent_stack.domain.errors import BugError
from agent_stack.domain.identifiers import ClassName, JobId, QueueKey
from agent_stack.domain.jobs import Job
from agent_stack.domain.policy import Policy, UnmatchedJobs
from agent_stack.domain.quota_room import Applicant, QuotaRoom
from agent_stack.domain.waiting import (
    MAX_LISTED,
    MAX_UNMATCHED_LISTED,
    NO_CLASS,
    PATIENCE,
    Waiting,
    WaitReason,
    unmatched_turn,
    unmatched_waits,
    waits,
)
from agent_stack.ports import Clock, Telemetry


@dataclass(slots=True, kw_only=True)
class Admit:
    """Matches jobs to classes, orders them by priority and age, and admits as many as EC2 can launch within seconds.

    It admits no more than this cycle can work on, beside the runs that get their VM in it.
    """

    capacity: CapacityCache
    in_flight: InFlightLaunches
    prefetch: VmPrefetch
    quotas: QuotaWatch
    vcpus: VcpuCache
    policy: Policy
    clock: Clock
    telemetry: Telemetry
    _ignored: frozenset[JobId] = field(default=frozenset(), init=False)
    """The listed jobs that no class fits and that are logged already."""

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Fills `vm_listing`, `work_began`, `fitting`, `admitted`, `refused`, `waiting` and what is unmatched."""
        if cycle.book is None:
            raise BugError("admit needs the classes; resume reads them")
        candidates: list[tuple[Job, ClassName]] = []
        refused: list[tuple[Job, str]] = []
        unmatched: list[tuple[Job, Unmatched]] = []
        broken: list[Waiting] = []
        held = _held(cycle, cycle.book)
        matched: dict[tuple[tuple[str, ...], QueueKey], VmClass | Unmatched] = {}  # most jobs ask for the same
        for job in sorted(cycle.listed, key=_in_line):
            if job.queue_key in cycle.paused or job.queue_key in cycle.operator_paused:
                continue  # Buildkite shows that its queue is paused, and `held` names the operator's pause
            asked = (job.rules, job.queue_key)
            match = matched.get(asked) or matched.setdefault(asked, cycle.book.match(*asked))
            if not isinstance(match, Unmatched):
                candidates.append((job, match.name))
            elif isinstance(match, BrokenClass):
                broken += waits(job, match.name, WaitReason.BROKEN, cycle.now, match.words)
            elif self._refuses(job, cycle):
                # Names are compared for a few jobs of a cycle only, because a pipeline can ask for anything.
                refused.append((job, match.reason if len(refused) < MAX_UNMATCHED_LISTED else match.why))
            else:
                unmatched.append((job, match))
        if self.policy.launch_enabled:
            admitted, waiting, lacking = self._cut(candidates, cycle, cycle.book)
        else:
            lacking = frozenset()
            admitted, waiting = [], _launches_disabled(candidates[:MAX_LISTED], cycle.now)
        cycle = self.prefetch.start(cycle, len(admitted) + cycle.expected_launches)
        if len(admitted) < len(candidates):
            self.telemetry.info("jobs_waiting_for_capacity", count=len(candidates) - len(admitted))
        return replace(
            cycle,
            work_began=self.clock.monotonic(),
            fitting=tuple(job for job, _ in candidates),
            admitted=tuple(admitted),
            refused=tuple(refused),
            waiting=(*held[:MAX_LISTED], *waiting, *broken[:MAX_LISTED])[: 2 * MAX_LISTED],
            lacking=lacking,
            unmatched=self._explained(unmatched, cycle.now),
            unmatched_jobs=sum(cycle.now - job.waits_since >= PATIENCE for job, _ in unmatched) + len(refused),
        )

    def _explained(self, unmatched: Sequence[tuple[Job, Unmatched]], now: datetime) -> tuple[Waiting, ...]:
        """Those of these jobs whose turn it is, with what would match. Each is logged once while it is listed."""
        turn = unmatched_turn(unmatched, now)
        for job, match in turn:
            if job.job_id not in self._ignored:
                self.telemetry.info("job_ignored", job_id=job.job_id, reason=match.reason)
        listed = frozenset(job.job_id for job, _ in unmatched)
        self._ignored = (self._ignored & listed) | {job.job_id for job, _ in turn}
        return tuple(waiting for job, match in turn for waiting in unmatched_waits(job, match, now))

    def _refuses(self, job: Job, cycle: DispatcherCycle) -> bool:
        match self.policy.unmatched_jobs:
            case UnmatchedJobs.FAIL:
                return True
            case UnmatchedJobs.IGNORE:
                return False
            case UnmatchedJobs.AUTO:
                return job.queue_key in cycle.clogging

    def _cut(
        self, candidates: list[tuple[Job, ClassName]], cycle: DispatcherCycle, book: ClassBook
    ) -> tuple[list[tuple[Job, ClassName]], list[Waiting], frozenset[tuple[ClassName, WaitReason]]]:
        """The jobs that have their place within every bound; why the next ones have not, each and by class."""
        if not candidates:
            return [], [], frozenset()
        memory = self.capacity.under(cycle.fence)
        admission = Admission(
            cycle=cycle,
            book=book,
            memory=memory,
            quotas=self.quotas.room(cycle, memory, self._applicants(candidates, book, memory)),
            vcpus=self._counted(cycle, [name for _, name in candidates]),
            policy=self.policy,
            room=max(FEWEST, self._room(cycle) - self._to_bind(cycle)),
        )
        admitted, waiting = admission.cut(candidates)
        return admitted, waiting, frozenset(admission.lacking)

    def _room(self, cycle: DispatcherCycle) -> int:
        return room_after(self.clock.monotonic() - cycle.began, cycle.room)

    def _to_bind(self, cycle: DispatcherCycle) -> int:
        """How many runs get their VM in this cycle, at most."""
        vms = sum(map(len, cycle.idle_vms.values())) + self.in_flight.answered_vms
        return min(vms, sum(run.binding is None for run in cycle.active))

    def _applicants(
        self, candidates: list[tuple[Job, ClassName]], book: ClassBook, memory: LaunchMemory
    ) -> list[Applicant]:
        """The first in line of each class, as those who wait for room in a quota."""
        if not memory.quotas:
            return []
        first: dict[ClassName, Job] = {}
        for job, name in candidates:
            first.setdefault(name, job)
        room = QuotaRoom(quotas=memory.quotas, vcpus=self.vcpus.known, now=job.scheduled_at)
        return [
            Applicant(
                job_id=job.job_id,
                class_name=name,
                priority=job.priority,
                since=job.scheduled_at,
                sizes=room.sizes(vm_class),
            )
            for name, job in first.items()
            if (vm_class := book.find(name)) is not None
        ]

    def _counted(self, cycle: DispatcherCycle, names: Sequence[ClassName]) -> CountedVcpus:
        """The vCPUs of what lives and of what wants to; nobody counts them without `MaxVcpus`."""
        if self.policy.max_vcpus is None:
            return CountedVcpus()
        live = [run for run in cycle.active if run.failure_reason is None]
        types = {name: cycle.types_of(name) for name in {*names, *(run.class_name for run in live)}}
        running = [(run.binding.instance_type,) if run.binding else types.get(run.class_name, ()) for run in live]
        return self.vcpus.counted(types, [one for each in running for one in each], cycle.now)


def _in_line(job: Job) -> tuple[int, datetime]:
    """The order of jobs. Jobs of one build are equally old, so the sort, which is stable, keeps the listing's order."""
    return (-job.priority, job.scheduled_at)


def _held(cycle: DispatcherCycle, book: ClassBook) -> list[Waiting]:
    """The jobs whose queue an operator has paused."""
    held: list[Waiting] = []
    for job in sorted(cycle.listed, key=_in_line):
        pause = cycle.operator_paused.get(job.queue_key)
        if pause is not None:
            match = book.match(job.rules, job.queue_key)
            name = NO_CLASS if isinstance(match, Unmatched) else match.name
            held += waits(job, name, WaitReason.PAUSED, cycle.now, pause.words)
    return held


def _launches_disabled(candidates: list[tuple[Job, ClassName]], now: datetime) -> list[Waiting]:
    return [kept for job, name in candidates for kept in waits(job, name, WaitReason.LAUNCH_DISABLED, now)]
