"""Job states: reads the job states of many runs, queue by queue. Two tracker steps use it."""

from collections.abc import Sequence

from agent_stack.domain.identifiers import JobId
from agent_stack.domain.jobs import by_queue
from agent_stack.domain.runs import Run
from agent_stack.domain.states import JobState
from agent_stack.ports import StacksApi, Telemetry


def job_states(runs: Sequence[Run], stacks: StacksApi, telemetry: Telemetry) -> dict[JobId, JobState]:
    """The states that Buildkite returns. A missing job is unknown to Buildkite, or its request failed (logged)."""
    states: dict[JobId, JobState] = {}
    for queue, job_ids in by_queue((run.queue_key, run.job_id) for run in runs).items():
        answer = stacks.job_states(queue, job_ids)
        states |= answer.states
        for error in answer.errors:
            telemetry.warning("job_states_unknown", queue=queue, error=str(error))
    return states
