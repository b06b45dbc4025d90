"""How what EC2 taught us looks as a DynamoDB item. A part that cannot be read is forgotten, never an error."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from agent_stack.adapters.dynamodb.items import moment, seconds, unpacked
from agent_stack.domain.capacity import Breaker, LaunchMemory, Level, Pause
from agent_stack.domain.identifiers import ClassName

PartT = TypeVar("PartT")


def memory_values(memory: LaunchMemory) -> dict[str, Any]:
    """The item's attributes."""
    return {
        "cooling": {pool: seconds(until) for pool, until in memory.unavailable_pools.items()},
        "breakers": {
            name: {
                "until": seconds(breaker.until),
                "since": seconds(breaker.since),
                "failures": breaker.failures,
                "message": breaker.message,
            }
            for name, breaker in memory.breakers.items()
        },
        "instances": _level_values(memory.instances),
        "requests": _level_values(memory.requests),
        "pause": None
        if memory.pause is None
        else {"until": seconds(memory.pause.until), "throttles": memory.pause.throttles},
        "asked": [[seconds(at), count] for at, count in memory.asked],
        "last_words": dict(memory.last_error_by_class),
    }


def read_memory(item: Mapping[str, Any]) -> LaunchMemory:
    """The memory behind an item."""
    nothing: dict[str, Any] = {}
    values = _part(lambda: unpacked(item), nothing)
    return LaunchMemory(
        unavailable_pools=_part(lambda: {pool: moment(until) for pool, until in values["cooling"].items()}, {}),
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
        instances=_part(lambda: _level(values["instances"]), None),
        requests=_part(lambda: _level(values["requests"]), None),
        pause=_part(
            lambda: Pause(until=moment(values["pause"]["until"]), throttles=int(values["pause"]["throttles"])), None
        ),
        asked=_part(lambda: tuple[tuple[datetime, int], ...]((moment(at), int(n)) for at, n in values["asked"]), ()),
        last_error_by_class=_part(
            lambda: {ClassName(name): str(said) for name, said in values["last_words"].items()}, {}
        ),
    )


def _level_values(level: Level | None) -> dict[str, Any] | None:
    return None if level is None else {"tokens": str(level.tokens), "at": seconds(level.at)}


def _level(stored: Mapping[str, Any]) -> Level:
    return Level(tokens=float(stored["tokens"]), at=moment(stored["at"]))


def _part(read: Callable[[], PartT], otherwise: PartT) -> PartT:
    try:
        return read()
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
        return otherwise
