"""Job environment: reads the class of a job from its environment when its agent query rules name none.

This costs one request for each job. So it is off by default, reads each job once, and is bounded for each cycle.
"""

from dataclasses import dataclass, field, replace

from agent_stack.dispatcher.cycle import DispatcherCycle
from agent_stack.domain.classes import CLASS_RULE
from agent_stack.domain.errors import AgentStackError, GiveUpError
from agent_stack.domain.identifiers import JobId
from agent_stack.domain.jobs import Job
from agent_stack.ports import StacksApi, Telemetry

CLASS_VARIABLE = "AGENT_STACK_EC2_CLASS"
JOBS_PER_CYCLE = 100
"""About one second of a cycle, at 10 ms for each request."""


@dataclass(slots=True, kw_only=True)
class ReadJobEnvironment:
    """Adds the class of the environment as a rule. A job that is not read yet waits for the next cycle."""

    stacks: StacksApi
    telemetry: Telemetry
    _rules: dict[JobId, tuple[str, ...]] = field(default_factory=dict, init=False)

    def __call__(self, cycle: DispatcherCycle) -> DispatcherCycle:
        """Rewrites `listed`."""
        listed = {job.job_id for job in cycle.listed}
        self._rules = {job_id: rules for job_id, rules in self._rules.items() if job_id in listed}
        remaining = JOBS_PER_CYCLE
        known: list[Job] = []
        for job in cycle.listed:
            if any(rule.partition("=")[0].strip() == CLASS_RULE for rule in job.rules) or job.queue_key in cycle.paused:
                known.append(job)
                continue
            if job.job_id not in self._rules and remaining > 0:
                remaining -= 1
                self._read(job)
            if job.job_id in self._rules:
                known.append(replace(job, rules=job.rules + self._rules[job.job_id]))
        return replace(cycle, listed=tuple(known))

    def _read(self, job: Job) -> None:
        try:
            named = self.stacks.job_details(job.queue_key, job.job_id).env.get(CLASS_VARIABLE, "").strip()
        except GiveUpError as error:
            self.telemetry.info("job_environment_unread", job_id=job.job_id, error=str(error))
            return  # the job is gone; the next listing does not show it
        except AgentStackError as error:
            self.telemetry.warning("job_environment_unread", job_id=job.job_id, error=str(error))
            return
        self._rules[job.job_id] = (f"{CLASS_RULE}={named}",) if named else ()
