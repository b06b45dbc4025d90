"""Record: writes a run for each admitted or refused job, before any request to Buildkite or EC2.

This conditional write decides between two dispatchers that want the same job. Buildkite's reservation cannot, because
a second reservation under the same stack key succeeds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from agent_stack.best_effort import written
from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.dispatcher.empty_ledger import EmptyLedgerCache
from agent_stack.domain.attempts import PriorUsage
from agent_stack.domain.errors import AgentStackError
from agent_stack.domain.identifiers import JobId
from agent_stack.domain.policy import Policy
from agent_stack.domain.runs import Run
from agent_stack.domain.waiting import NO_CLASS
from agent_stack.ports import Ledger, Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Writes RESERVED runs, each only if its job has no run. A refused job gets a run with its failure reason.

    So does a job whose earlier runs have used up its attempts: it gets no VM, and the tracker fails it.
    """

    ledger: Ledger
    empty_ledger: EmptyLedgerCache
    policy: Policy
    telemetry: Telemetry

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Fills `recorded`."""
        known = self._earlier(cycle)
        runs = [
            Run.of(
                job,
                class_name=name,
                earlier=(known or {}).get(job.job_id),
                now=cycle.now,
                failure_reason=self._used_up((known or {}).get(job.job_id)),
            )
            for job, name in (cycle.admitted if known is not None else ())
        ]
        runs += [
            Run.of(job, class_name=NO_CLASS, now=cycle.now, failure_reason=reason) for job, reason in cycle.refused
        ]
        if not runs:
            return cycle
        self.empty_ledger.invalidate()
        recorded = tuple(written(self.ledger.record, runs, self.telemetry))
        for run in recorded:
            self.telemetry.info("job_recorded", job_id=run.job_id, class_name=run.class_name)
        return replace(cycle, recorded=recorded)

    def _earlier(self, cycle: DispatcherCycle) -> Mapping[JobId, PriorUsage] | None:
        """What earlier runs of the admitted jobs used up; None when unknown. Then they wait for the next cycle."""
        if not cycle.admitted:
            return {}
        try:
            return self.ledger.earlier([job.job_id for job, _ in cycle.admitted])
        except AgentStackError as error:
            self.telemetry.error("earlier_runs_unknown", count=len(cycle.admitted), error=str(error))
            return None

    def _used_up(self, earlier: PriorUsage | None) -> str | None:
        """Why a job gets no VM any more: earlier runs of it had as many as the operator allows."""
        if earlier is None or earlier.counted < self.policy.max_launch_attempts:
            return None
        return f"No agent could be started in {earlier.words}, earlier runs of this job included."
