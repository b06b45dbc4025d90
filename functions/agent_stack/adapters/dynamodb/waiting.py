"""How the list of waiting jobs looks as a DynamoDB item, and the marks of the notifications that they got.

The list is grouped by what its jobs have in common, so that five hundred of them are some twenty kilobytes.
"""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from agent_stack.adapters.aws import required_text
from agent_stack.adapters.dynamodb.fields import UNREADABLE, at, members, text
from agent_stack.adapters.dynamodb.items import packed, seconds, unpacked
from agent_stack.domain.identifiers import ClassName, JobId, QueueKey
from agent_stack.domain.waiting import MAX_NOTICES_OF_A_JOB, Waiting, WaitingList, WaitReason

_REASONS = frozenset(reason.value for reason in WaitReason)


def list_values(waiting: WaitingList) -> dict[str, Any]:
    """The item's attributes."""
    groups: dict[tuple[str, str, str, str], list[tuple[int, str]]] = defaultdict(list)
    for place, job in enumerate(waiting.jobs):
        groups[job.reason.value, job.queue_key, job.class_name, job.words].append((place, job.job_id))
    return {
        "at": seconds(waiting.at),
        "groups": [
            {
                "reason": reason,
                "queue_key": queue_key,
                "class_name": class_name,
                "words": words,
                "jobs": [job_id for _, job_id in jobs],
                "places": [place for place, _ in jobs],
            }
            for (reason, queue_key, class_name, words), jobs in groups.items()
        ],
    }


def read_list(item: Mapping[str, Any]) -> WaitingList | None:
    """The list behind an item; None for one that no version of this code writes, because a list is no record.

    A group that cannot be read is left out, and the others are there.
    """
    try:
        values = unpacked(item)
        made, groups = at(values, "at"), members(values, "groups")
    except UNREADABLE:
        return None
    placed: list[tuple[int, Waiting]] = []
    for group in groups:
        with suppress(*UNREADABLE):
            placed += _placed(group)
    return WaitingList(at=made, jobs=tuple(job for _, job in sorted(placed, key=lambda p: p[0])))


def _placed(group: Mapping[str, Any]) -> list[tuple[int, Waiting]]:
    """The jobs of one group, each with its place; none where a later version gave the reason."""
    reason = text(group, "reason")
    if reason not in _REASONS:
        return []
    queue_key, class_name = QueueKey(text(group, "queue_key")), ClassName(text(group, "class_name"))
    words = text(group, "words")
    return [
        (
            int(place),
            Waiting(
                job_id=JobId(required_text(job_id)),
                queue_key=queue_key,
                class_name=class_name,
                reason=WaitReason(reason),
                words=words,
            ),
        )
        for job_id, place in zip(members(group, "jobs"), members(group, "places"), strict=True)
    ]


def mark(waiting: Waiting, *, write_id: str, expires_at: int) -> dict[str, Any]:
    """The update of a job's mark: the reasons that it was notified of, each once and not too many."""
    return {
        "UpdateExpression": "ADD reasons :reasons SET write_id = :write_id, expires_at = :expires_at",
        "ConditionExpression": "attribute_not_exists(reasons) OR "
        "(NOT contains(reasons, :reason) AND size(reasons) < :most)",
        "ExpressionAttributeValues": packed(
            {
                ":reasons": {waiting.reason.value},
                ":reason": waiting.reason.value,
                ":most": MAX_NOTICES_OF_A_JOB,
                ":write_id": write_id,
                ":expires_at": expires_at,
            }
        ),
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
