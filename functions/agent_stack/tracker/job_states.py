"""Job states: reads the job states of many runs, queue by queue. Two tracker steps use it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent_stack.domain.identifiers import JobId
from agent_stack.domain.jobs import by_queue
from agent_stack.domain.runs import Run
from agent_stack.domain.situations import JobPhase, job_phase_of
from agent_stack.domain.states import JobState
from agent_stack.outages import Outages
from agent_stack.ports import StacksApi, Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAnswers:
    """What Buildkite returned.

    Attributes:
        states: of the jobs that it named.
        answered: the jobs of queues whose answer was complete. One of them that has no state is unknown to Buildkite.
    """

    states: Mapping[JobId, JobState]
    answered: frozenset[JobId]

    def is_unnamed(self, job_id: JobId) -> bool:
        """Whether a complete answer does not say where this job stands: not named, or in a state that is inert."""
        return job_id in self.answered and job_phase_of(self.states.get(job_id)) is JobPhase.UNKNOWN


def job_states(runs: Sequence[Run], stacks: StacksApi, telemetry: Telemetry, outages: Outages) -> JobAnswers:
    """The states of these runs' jobs."""
    states: dict[JobId, JobState] = {}
    answered: set[JobId] = set()
    for queue, job_ids in by_queue((run.queue_key, run.job_id) for run in runs).items():
        answer = stacks.job_states(queue, job_ids)
        states |= answer.states
        if not answer.errors:
            answered |= set(job_ids)
            if outages.is_over(queue):
                telemetry.info("job_states_known_again", queue=queue)
        else:
            error = "; ".join(map(str, answer.errors))
            outages.passing(queue, telemetry, "job_states_unknown", error=error, queue=queue)
    return JobAnswers(states=states, answered=frozenset(answered))
