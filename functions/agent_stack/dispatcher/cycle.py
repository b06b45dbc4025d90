"""What one cycle of the dispatcher carries from step to step. One step writes each field; later steps read it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from agent_stack.domain.classes import ClassBook
from agent_stack.domain.identifiers import ClassName, QueueKey
from agent_stack.domain.jobs import Job
from agent_stack.domain.runs import Run
from agent_stack.domain.vms import Vm
from agent_stack.domain.waiting import Waiting
from agent_stack.ports import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherCycle:
    """One look at the queues and what comes of it.

    Attributes:
        fence: the fencing number of the lease that the dispatcher holds.
        expected_launches: the cycle before → how many VMs it wanted; this cycle will want some, too.
        paused_before: the cycle before → the queues that were paused then; None when not known under this lease.
        vm_look: recover, admit → EC2's list of VMs, asked for beside the cycle; None when the cycle did not ask.
        book: recover → the classes as they are now.
        active: recover → all runs that have not ended.
        unconfirmed: recover → how many more VMs may exist: of launches without an answer, or not shown by EC2 yet.
        unconfirmed_by_class: recover → how many VMs of each class launches without an answer may have brought.
        idle_vms: recover, launch → VMs that no run is bound to, by class; fit to be bound now.
        paused: poll → queues of which nothing may start.
        clogging: poll → queues of which only one page can be seen; a job nobody takes hides those behind it.
        listed: poll → scheduled jobs.
        fitting: admit → listed jobs that a class fits and whose queue is not paused, admitted or not.
        admitted: admit → jobs to start, each with its class.
        refused: admit → jobs to finish, each with the reason.
        waiting: admit → jobs that are kept waiting for long, those first in line, each with the reason.
        recorded: record → the runs that are ours by the ledger.
        ready: reserve → the runs that are ours by Buildkite too and want a VM now.
        launching: launch → VMs asked for, of which EC2 has not answered yet.
        wanted_launches: launch → how many VMs runs without a VM wanted.
        bound: bind → the runs that got one.
    """

    now: datetime
    fence: int
    expected_launches: int = 0
    paused_before: frozenset[QueueKey] | None = None
    vm_look: Task[Sequence[Vm]] | None = None
    book: ClassBook | None = None
    active: tuple[Run, ...] = ()
    unconfirmed: int = 0
    unconfirmed_by_class: Mapping[ClassName, int] = field(default_factory=dict)
    idle_vms: Mapping[ClassName, tuple[Vm, ...]] = field(default_factory=dict)
    paused: frozenset[QueueKey] = frozenset()
    clogging: frozenset[QueueKey] = frozenset()
    listed: tuple[Job, ...] = ()
    fitting: tuple[Job, ...] = ()
    admitted: tuple[tuple[Job, ClassName], ...] = ()
    refused: tuple[tuple[Job, str], ...] = ()
    waiting: tuple[Waiting, ...] = ()
    recorded: tuple[Run, ...] = ()
    ready: tuple[Run, ...] = ()
    launching: int = 0
    wanted_launches: int = 0
    bound: tuple[Run, ...] = ()

    @property
    def busy(self) -> bool:
        """There is work that the next second may bring further."""
        return bool(self.admitted or self.refused or self.ready or self.launching)


DispatcherStep = Callable[[DispatcherCycle], DispatcherCycle]
