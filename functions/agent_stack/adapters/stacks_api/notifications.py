"""Notifications as they are sent: cropped, without credentials, and each with the time at which it happened."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from agent_stack.adapters.stacks_api.limits import MAX_NOTICE_CHARACTERS
from agent_stack.adapters.stacks_api.redaction import without_credentials
from agent_stack.domain.identifiers import JobId
from agent_stack.domain.texts import crop_characters
from agent_stack.ports import Notification


def shown(notification: Notification) -> str:
    """Its text as the page takes it; parts of it may be a VM's own words."""
    return crop_characters(without_credentials(notification.text), MAX_NOTICE_CHARACTERS)


def batch(notifications: Sequence[Notification], now: datetime | None) -> dict[str, Any]:
    """The body of a request of the current dialect.

    Args:
        now: no notification happened later than that; None to send no times.
    """
    bodies = [{"job_uuid": notification.job_id, "detail": shown(notification)} for notification in notifications]
    if now is not None:
        for body, at in zip(bodies, _timestamps(notifications, now), strict=True):
            body["timestamp"] = at
    return {"notifications": bodies}


def _timestamps(notifications: Sequence[Notification], now: datetime) -> list[str]:
    """When each happened, in milliseconds, never later than now.

    Of one job each is later than the one before, because Buildkite chooses the order of equal times.
    """
    latest: dict[JobId, datetime] = {}
    times: list[str] = []
    for notification in reversed(notifications):
        at = min(notification.at, now, latest.get(notification.job_id, now))
        latest[notification.job_id] = at - timedelta(milliseconds=1)
        times.append(at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"))
    return times[::-1]
