"""The build pages: news for many jobs, all of a queue in one request. What two tracker steps do."""

from collections.abc import Iterable

from agent_stack.domain.identifiers import QueueKey
from agent_stack.domain.jobs import by_queue
from agent_stack.ports import Notification, StacksApi, Telemetry


def send_notifications(news: Iterable[tuple[QueueKey, Notification]], stacks: StacksApi, telemetry: Telemetry) -> None:
    """Send them; a page that could not be told costs itself only, and is not told again."""
    for queue, notifications in by_queue(news).items():
        untold = stacks.notify(queue, notifications)
        telemetry.info("build_pages_told", queue=queue, count=len(notifications) - len(untold))
        for job_id, error in untold.items():
            telemetry.warning("build_page_not_told", job_id=job_id, error=str(error))
