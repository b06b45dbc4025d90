"""Why an invocation happens. Events are hints: none of them says what is true, only that it is time to look."""

from collections.abc import Mapping
from enum import StrEnum


class Trigger(StrEnum):
    """What an invocation is for."""

    SCHEDULE = "schedule"  # to work
    WAKE_UP = "wake_up"  # to bring news to whoever works, or to work when nobody does
    STACK_EVENT = "stack_event"  # to do its part in a deployment or removal of the stack

    @classmethod
    def of(cls, event: Mapping[str, object]) -> "Trigger":
        """The trigger behind a Lambda event; whatever is not known otherwise means: work."""
        if "ResponseURL" in event and "RequestType" in event:
            return cls.STACK_EVENT
        if "Records" in event:
            return cls.WAKE_UP
        return cls.SCHEDULE
