"""Record: write a run for each job before anything is asked of anyone.

This write, not Buildkite's reservation, is what makes one of two runs win: reserving again under the same
stack key succeeds.
"""

from dataclasses import dataclass, replace

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.empty_ledger import EmptyLedgerCache
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.runs import Run
from agent_stack.ports import Ledger, Telemetry

NO_CLASS = ClassName("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Writes RESERVED runs, conditional on absence. Refused jobs are recorded too, with what they are told."""

    ledger: Ledger
    empty_ledger: EmptyLedgerCache
    telemetry: Telemetry

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Fills `recorded`."""
        known = self.ledger.earlier([job.job_id for job, _ in cycle.admitted]) if cycle.admitted else {}
        wanted = [
            Run.of(job, class_name=name, earlier=known.get(job.job_id), now=cycle.now, failure_reason=None)
            for job, name in cycle.admitted
        ]
        wanted += [
            Run.of(job, class_name=NO_CLASS, now=cycle.now, failure_reason=reason) for job, reason in cycle.refused
        ]
        if not wanted:
            return cycle
        self.empty_ledger.invalidate()
        recorded = tuple(self.ledger.record(wanted))
        for run in recorded:
            self.telemetry.info("job_recorded", job_id=run.job_id, class_name=run.class_name)
        return replace(cycle, recorded=recorded)
