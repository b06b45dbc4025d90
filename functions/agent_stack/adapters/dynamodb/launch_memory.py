"""How what EC2 taught us looks as a DynamoDB item. A part that cannot be read is forgotten, never an error."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from agent_stack.adapters.dynamodb.items import moment, seconds, unpacked
from agent_stack.domain.capacity import Breaker, LaunchMemory, Level
from agent_stack.domain.identifiers import ClassName

PartT = TypeVar("PartT")


def memory_values(memory: LaunchMemory) -> dict[str, Any]:
    """The item's attributes."""
    return {
        "cooling": {pool: seconds(until) for pool, until in memory.cooling.items()},
        "breakers": {
            name: {
                "until": seconds(breaker.until),
                "since": seconds(breaker.since),
                "failures": breaker.failures,
                "message": breaker.message,
            }
            for name, breaker in memory.breakers.items()
        },
        "instances": None
        if memory.instances is None
        else {"tokens": str(memory.instances.tokens), "at": seconds(memory.instances.at)},
        "asked": [[seconds(at), count] for at, count in memory.asked],
        "last_words": dict(memory.last_words),
    }


def read_memory(item: Mapping[str, Any]) -> LaunchMemory:
    """The memory behind an item."""
    values = unpacked(item)
    return LaunchMemory(
        cooling=_part(lambda: {pool: moment(until) for pool, until in values["cooling"].items()}, {}),
        breakers=_part(
            lambda: {
                ClassName(name): Breaker(
                    until=moment(stored["until"]),
                    since=moment(stored["since"]),
                    failures=int(stored["failures"]),
                    message=stored["message"],
                )
                for name, stored in values["breakers"].items()
            },
            {},
        ),
        instances=_part(
            lambda: Level(tokens=float(values["instances"]["tokens"]), at=moment(values["instances"]["at"])), None
        ),
        asked=_part(lambda: tuple[tuple[datetime, int], ...]((moment(at), int(n)) for at, n in values["asked"]), ()),
        last_words=_part(lambda: {ClassName(name): str(said) for name, said in values["last_words"].items()}, {}),
    )


def _part(read: Callable[[], PartT], otherwise: PartT) -> PartT:
    try:
        return read()
    except (KeyError, TypeError, ValueError, AttributeError):
        return otherwise
