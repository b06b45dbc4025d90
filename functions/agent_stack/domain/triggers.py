"""Why an invocation happens. Events are hints: none of them says what is true, only that it is time to look."""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

_ID = re.compile(r"\bi-[0-9a-f]{8,17}\b|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
"""Of an instance, also as the end of our agents' names, or of a job. What else is written so is nobody's of ours."""


class Trigger(StrEnum):
    """What an invocation is for."""

    SCHEDULE = "schedule"  # to work
    WAKE_UP = "wake_up"  # to signal the lease holder, or to work when there is none
    INSPECTION = "inspection"  # to look at everything and answer, for `agent-stack doctor`
    STACK_EVENT = "stack_event"  # to do its part in a deployment or removal of the stack

    @classmethod
    def of(cls, event: Mapping[str, object]) -> "Trigger":
        """The trigger behind a Lambda event; whatever is not known otherwise means: work."""
        if "ResponseURL" in event and "RequestType" in event:
            return cls.STACK_EVENT
        if "agent_stack_inspection" in event:
            return cls.INSPECTION
        if "Records" in event:
            return cls.WAKE_UP
        return cls.SCHEDULE


def mentioned(event: Mapping[str, Any]) -> Iterator[frozenset[str]]:
    """The ids of instances and jobs that each event of a batch mentions, wherever it does."""
    for record in event.get("Records", ()):
        yield frozenset(_ID.findall(str(record.get("body", ""))))
