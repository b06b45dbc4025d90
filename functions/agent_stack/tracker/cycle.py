"""What one cycle of the tracker carries from step to step. One step writes each field; later steps read it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from agent_stack.domain.decisions import Decision
from agent_stack.domain.identifiers import InstanceId, JobId
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import Situation
from agent_stack.domain.states import UP
from agent_stack.domain.vms import Vm


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
class TrackerCycle:
    """One look at everything that lives and what comes of it.

    Attributes:
        described: observe → EC2 answered in full.
        vms: observe → all our VMs by id; only what EC2 showed.
        situations: observe → what is known of every active run.
        verdicts: decide, claim, and each acting step → what was decided, on the run as last recorded.
        going: terminate → VMs that EC2 agreed to terminate in this cycle.
        terminations: terminate → how many VMs EC2 was asked to terminate so far; the brake counts all of a cycle's.
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


TrackerStep = Callable[[TrackerCycle], TrackerCycle]
