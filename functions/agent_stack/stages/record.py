"""Record: write a run for each job before anything is asked of anyone.

This write, not Buildkite's reservation, is what makes one of two runs win: reserving again under the same
stack key succeeds.
"""

from dataclasses import dataclass, replace

from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.runs import Run
from agent_stack.ports import Ledger, Telemetry
from agent_stack.stages.quiet import Quiet
from agent_stack.stages.ticks import DispatcherTick

NO_CLASS = ClassName("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Writes RESERVED runs, conditional on absence. Refused jobs are recorded too, with what they are told."""

    ledger: Ledger
    quiet: Quiet
    telemetry: Telemetry

    def __call__(self, tick: DispatcherTick) -> DispatcherTick:
        """Fills `recorded`."""
        known = self.ledger.earlier([job.job_id for job, _ in tick.admitted]) if tick.admitted else {}
        wanted = [
            Run.of(job, class_name=name, earlier=known.get(job.job_id), now=tick.now, give_up=None)
            for job, name in tick.admitted
        ]
        wanted += [Run.of(job, class_name=NO_CLASS, now=tick.now, give_up=reason) for job, reason in tick.refused]
        if not wanted:
            return tick
        self.quiet.broken()
        recorded = tuple(self.ledger.record(wanted))
        for run in recorded:
            self.telemetry.info("job_recorded", job_id=run.job_id, class_name=run.class_name)
        return replace(tick, recorded=recorded)
