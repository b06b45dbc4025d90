"""How the list of waiting jobs looks as a DynamoDB item, and the marks of the notifications that they got.

The list is grouped by what its jobs have in common, so that five hundred of them are some twenty kilobytes.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from agent_stack.adapters.dynamodb.items import moment, packed, seconds, unpacked
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
    """The list behind an item; None for one that no version of this code writes, because a list is no record."""
    try:
        values = unpacked(item)
        placed = [
            (
                int(place),
                Waiting(
                    job_id=JobId(job_id),
                    queue_key=QueueKey(group["queue_key"]),
                    class_name=ClassName(group["class_name"]),
                    reason=WaitReason(group["reason"]),
                    words=group["words"],
                ),
            )
            for group in values.get("groups", [])
            if group["reason"] in _REASONS
            for job_id, place in zip(group["jobs"], group["places"], strict=True)
        ]
        return WaitingList(at=moment(values["at"]), jobs=tuple(job for _, job in sorted(placed, key=lambda p: p[0])))
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
        return None


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
