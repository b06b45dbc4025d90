"""What a tick carries from step to step. Each field is written by one step and read by later ones."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from agent_stack.domain.classes import ClassBook
from agent_stack.domain.decisions import Decision
from agent_stack.domain.identifiers import ClassName, InstanceId, JobId, QueueKey
from agent_stack.domain.jobs import Job
from agent_stack.domain.launching import Intent
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import Situation
from agent_stack.domain.states import UP
from agent_stack.domain.vms import Vm
from agent_stack.domain.waiting import Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherTick:
    """One look at the queues and what comes of it.

    Attributes:
        fence: the fencing number of the lease we work under.
        book: resume → the classes as they are now.
        active: resume → all runs that have not ended.
        intents: resume → launches that may still have unbound VMs.
        unsettled: resume → VMs that may exist: of launches whose outcome is not known, or that EC2 does not show yet.
        expected: resume → VMs by class that launches of unknown outcome may have brought.
        idle_vms: resume, launch → VMs that no run is bound to, by class; fit to be bound now.
        paused: poll → queues of which nothing may start.
        clogging: poll → queues of which only one page can be seen; a job nobody takes hides those behind it.
        listed: poll → scheduled jobs.
        fitting: admit → listed jobs that a class fits and whose queue is not paused, admitted or not.
        admitted: admit → jobs to start, each with its class.
        refused: admit → jobs to finish, each with the reason.
        waiting: admit → jobs that are kept waiting for long, those first in line, each with the reason.
        recorded: record → the runs that are ours by the ledger.
        ready: reserve → the runs that are ours by Buildkite too and want a VM now.
        launching: launch → VMs asked for, of which EC2 has not told yet.
        bound: bind → the runs that got one.
    """

    now: datetime
    fence: int
    book: ClassBook | None = None
    active: tuple[Run, ...] = ()
    intents: tuple[Intent, ...] = ()
    unsettled: int = 0
    expected: Mapping[ClassName, int] = field(default_factory=dict)
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
    bound: tuple[Run, ...] = ()

    @property
    def busy(self) -> bool:
        """There is work that the next second may bring further."""
        return bool(self.admitted or self.refused or self.ready or self.launching)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One run, what was known of it, and what was decided."""

    situation: Situation
    decision: Decision

    @property
    def run(self) -> Run:
        """The run as last recorded."""
        return self.situation.run


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerTick:
    """One look at everything that lives and what comes of it.

    Attributes:
        described: observe → EC2 answered in full.
        vms: observe → all our VMs by id; only what EC2 showed.
        situations: observe → what is known of every active run.
        verdicts: decide, claim, and each acting step → what was decided, on the run as last recorded.
        going: terminate → VMs that EC2 agreed to terminate in this tick.
        terminations: terminate → how many VMs EC2 was asked to terminate so far; the brake counts all of a tick's.
    """

    now: datetime
    described: bool = False
    vms: Mapping[InstanceId, Vm] = field(default_factory=dict)
    situations: tuple[Situation, ...] = ()
    verdicts: Mapping[JobId, Verdict] = field(default_factory=dict)
    going: frozenset[InstanceId] = frozenset()
    terminations: int = 0
    extended: tuple[Run, ...] = ()

    @property
    def busy(self) -> bool:
        """Something lives that needs looking after."""
        return bool(self.situations) or any(vm.state in UP for vm in self.vms.values())

    def with_runs(self, runs: Iterable[Run]) -> dict[JobId, Verdict]:
        """The verdicts, on newer versions of these runs."""
        newer = {
            run.job_id: replace(
                self.verdicts[run.job_id], situation=replace(self.verdicts[run.job_id].situation, run=run)
            )
            for run in runs
        }
        return {**self.verdicts, **newer}


DispatcherStep = Callable[[DispatcherTick], DispatcherTick]
TrackerStep = Callable[[TrackerTick], TrackerTick]
