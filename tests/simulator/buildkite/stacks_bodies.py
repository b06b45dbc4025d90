"""The bodies the Stacks API answers with, in either dialect."""

from datetime import datetime, timedelta

from tests.simulator.buildkite.body import iso
from tests.simulator.buildkite.job import Job
from tests.simulator.buildkite.queues import Queue
from tests.simulator.buildkite.settings import Dialect, Settings
from tests.simulator.buildkite.stacks import Stack
from tests.simulator.buildkite.states import JobState

_STACK_DISCONNECTED_AFTER = timedelta(minutes=5)


def registered_stack(
    stack: Stack, *, dialects: frozenset[Dialect], organization_id: str, now: datetime
) -> dict[str, object]:
    """A registered stack; the current service tells more about it than the specification lists."""
    body: dict[str, object] = {
        "key": stack.key,
        "type": stack.type,
        "cluster_queue_key": stack.queue_key,
        "metadata": dict(stack.metadata),
    }
    if Dialect.CURRENT in dialects:
        silent = now - stack.last_connected_on
        body |= {
            "id": stack.id,
            "organization_uuid": organization_id,
            "last_connected_on": iso(stack.last_connected_on),
            "state": "connected" if silent < _STACK_DISCONNECTED_AFTER else "disconnected",
        }
    return body


def wire_state(job: Job, settings: Settings) -> str:
    """A job's state as the look-up tells it."""
    if job.disguise is not None:
        return job.disguise
    if job.state is JobState.FINISHED and settings.ended_shows_result:
        passed = job.outcome is not None and job.outcome.exit_status == 0
        return JobState.PASSED if passed else JobState.FAILED
    return job.state


def listed_job(job: Job, dialect: Dialect, settings: Settings) -> dict[str, object]:
    """A scheduled job as a listing shows it: flat in the preview, nested in the current dialect."""
    rules = list(job.step.agent_query_rules)
    body: dict[str, object] = {
        "id": job.id,
        "scheduled_at": iso(job.scheduled_at),
        "priority": job.step.priority if job.step.priority is not None or settings.null_priority else 0,
        "agent_query_rules": None if settings.null_lists and not rules else rules,
    }
    build = job.build
    if dialect is Dialect.PREVIEW:
        return body | {
            "pipeline_slug": build.pipeline_slug,
            "pipeline_id": build.pipeline_id,
            "build_number": build.number,
            "build_branch": build.branch,
            "build_id": build.id,
            "step_key": job.step.key,
        }
    if settings.shows_runnable_at and job.runnable_at is not None:
        body["runnable_at"] = iso(job.runnable_at)
    return body | {
        "pipeline": {"slug": build.pipeline_slug, "uuid": build.pipeline_id},
        "build": {"number": build.number, "branch": build.branch, "uuid": build.id},
        "step": {"key": job.step.key},
    }


def listed_queue(queue: Queue) -> dict[str, object]:
    """The queue a listing was made of."""
    return {"id": queue.id, "dispatch_paused": queue.paused}
