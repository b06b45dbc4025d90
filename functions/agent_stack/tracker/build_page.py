"""Build page: sends notifications to many jobs, one request for each queue. Two tracker steps use it."""

from collections.abc import Iterable

from agent_stack.domain.identifiers import QueueKey
from agent_stack.domain.jobs import by_queue
from agent_stack.ports import Notification, StacksApi, Telemetry


def send_notifications(
    unsent: Iterable[tuple[QueueKey, Notification]], stacks: StacksApi, telemetry: Telemetry
) -> None:
    """Sends them. A notification that fails does not affect the others, and is not sent again."""
    for queue, notifications in by_queue(unsent).items():
        failed = stacks.notify(queue, notifications)
        telemetry.info("build_pages_told", queue=queue, count=len(notifications) - len(failed))
        for job_id, error in failed.items():
            telemetry.warning("build_page_not_told", job_id=job_id, error=str(error))
