"""Stack notifications: what may be said about a job, how long and how often."""

from collections.abc import Sequence
from datetime import datetime

from tests.simulator.buildkite.events import EventBus, NotificationCreated
from tests.simulator.buildkite.job import Job, Notification
from tests.simulator.buildkite.rules import Refusal, Rule
from tests.simulator.buildkite.settings import Dialect, Limits


class Notifications:
    """Checks and keeps notifications; the two dialects publish different limits.

    Source: the notifications sections of the specification and of the public Stacks API page.
    """

    def __init__(self, *, limits: Limits, events: EventBus) -> None:
        self._limits = limits
        self._events = events

    def create(
        self, job: Job | None, detail: str, *, dialect: Dialect, stated: datetime | None, at: datetime
    ) -> Notification:
        """Add one notification to a job; give it.

        Args:
            job: The job, or None when there is none with the id given.
            stated: When the stack says it happened; None means now.

        Raises:
            Refusal: 404 for an unknown job, 422 for everything else that is wrong with it.
        """
        limits = self._limits.notifications(dialect)
        if job is None:
            raise Refusal(404, "Job not found")
        if not detail:
            raise Refusal(422, "detail can't be blank", rule=Rule.REQUIRED_FIELD)
        if len(detail) > limits.characters:
            raise Refusal(
                422, f"detail is too long (maximum is {limits.characters} characters)", rule=Rule.DETAIL_LENGTH
            )
        if stated is not None and stated > at:
            raise Refusal(422, "timestamp can't be in the future", rule=Rule.NOTIFICATION_TIME)
        if stated is not None and stated < job.created_at:
            raise Refusal(422, "timestamp can't be before the job was created", rule=Rule.NOTIFICATION_TIME)
        if job.finished_at is not None and at - job.finished_at > self._limits.notify_after_finish:
            raise Refusal(422, "job finished too long ago", rule=Rule.NOTIFICATION_LATE)
        if len(job.notifications) >= limits.per_job:
            raise Refusal(
                422,
                f"job has too many notifications (maximum is {limits.per_job})",
                rule=Rule.NOTIFICATIONS_PER_JOB,
            )
        notification = Notification(at=stated or at, detail=detail)
        job.notifications.append(notification)
        self._events.publish(NotificationCreated(at=at, job_id=job.id, label=job.step.shown_label, detail=detail))
        return notification

    @staticmethod
    def mix_untimed(job: Job, created: Sequence[Notification]) -> None:
        """Order notifications of one request that named no time, which is the service's choice: last to first."""
        places = [place for place, kept in enumerate(job.notifications) if any(kept is one for one in created)]
        for place, notification in zip(places, reversed(created), strict=True):
            job.notifications[place] = notification
