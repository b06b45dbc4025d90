"""How what EC2 taught us looks as a DynamoDB item. A part that cannot be read is forgotten, never an error.

Version 0.1.0 knows the attributes `cooling`, `breakers`, `instances`, `requests`, `pause`, `asked` and `last_words`.
They keep their meaning; what it does not know stands beside them.
"""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from agent_stack.adapters.dynamodb.fields import UNREADABLE, count, flag, maybe_at, maybe_whole, moment, text
from agent_stack.adapters.dynamodb.items import seconds, unpacked
from agent_stack.domain.backoff import Backoff
from agent_stack.domain.breakers import Breaker
from agent_stack.domain.budgets import Level, Pause
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.identifiers import Bucket, ClassName, InstanceId
from agent_stack.domain.quotas import Ceiling
from agent_stack.domain.standby_trouble import Trouble
from agent_stack.domain.unavailable import Refusal

PartT = TypeVar("PartT")
KeyT = TypeVar("KeyT")
LAYOUT = 2
"""Version 0.1.0 writes no layout."""
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
"""When a deployment began whose item version 0.1.0 wrote: it is not a new one."""


def memory_values(memory: LaunchMemory) -> dict[str, Any]:
    """The item's attributes."""
    return {
        "cooling": {pool: seconds(until) for pool, until in memory.unavailable_pools.items()},
        "breakers": {name: _breaker_values(breaker) for name, breaker in memory.breakers.items()},
        "instances": _level_values(memory.instances),
        "requests": _level_values(memory.requests),
        "pause": None
        if memory.pause is None
        else {"until": seconds(memory.pause.until), "throttles": memory.pause.throttles},
        "asked": [[seconds(at), count] for at, count in memory.asked],
        "last_words": dict(memory.last_error_by_class),
        "refused": {key: _refusal_values(refusal) for key, refusal in memory.refused.items()},
        "quotas": {bucket: _ceiling_values(ceiling) for bucket, ceiling in memory.quotas.items()},
        "backoffs": {key: _backoff_values(backoff) for key, backoff in memory.backoffs.items()},
        "layout": LAYOUT,
        "seen": {key: seconds(at) for key, at in memory.seen.items()},
        "began_at": _maybe(memory.began_at),
        "worked_at": _maybe(memory.worked_at),
        "standby": {name: _trouble_values(trouble) for name, trouble in memory.standby.items()} or None,
        "preempting": [[seconds(begin), seconds(end)] for begin, end in memory.preempting] or None,
    }


def read_memory(item: Mapping[str, Any]) -> LaunchMemory:
    """The memory behind an item."""
    nothing: dict[str, Any] = {}
    values = _part(lambda: unpacked(item), nothing)
    return LaunchMemory(
        unavailable_pools=_each(values, "cooling", str, moment),
        breakers=_each(values, "breakers", ClassName, _breaker),
        instances=_part(lambda: _level(values["instances"]), None),
        requests=_part(lambda: _level(values["requests"]), None),
        pause=_part(
            lambda: Pause(until=moment(values["pause"]["until"]), throttles=count(values["pause"], "throttles")), None
        ),
        asked=_part(lambda: tuple[tuple[datetime, int], ...]((moment(at), int(n)) for at, n in values["asked"]), ()),
        last_error_by_class=_each(values, "last_words", ClassName, _words),
        refused=_each(values, "refused", str, _refusal),
        quotas=_each(values, "quotas", Bucket, _ceiling),
        backoffs=_each(values, "backoffs", str, _backoff),
        seen=_each(values, "seen", str, moment),
        began_at=_part(lambda: moment(values["began_at"]), None if "layout" in values else LONG_AGO),
        worked_at=_part(lambda: moment(values["worked_at"]), None),
        standby=_each(values, "standby", ClassName, _trouble),
        preempting=_part(lambda: tuple((moment(begin), moment(end)) for begin, end in values["preempting"]), ()),
    )


def _breaker_values(breaker: Breaker) -> dict[str, Any]:
    return {
        "until": seconds(breaker.until),
        "since": seconds(breaker.since),
        "failures": breaker.failures,
        "message": breaker.message,
        "definite": breaker.definite,
    }


def _breaker(stored: Mapping[str, Any]) -> Breaker:
    return Breaker(
        until=moment(stored["until"]),
        since=moment(stored["since"]),
        failures=count(stored, "failures"),
        message=text(stored, "message"),
        definite=flag(stored, "definite", default=True),
    )


def _refusal_values(refusal: Refusal) -> dict[str, Any]:
    return {
        "since": seconds(refusal.since),
        "until": seconds(refusal.until),
        "message": refusal.message,
        "listed": refusal.listed,
    }


def _refusal(stored: Mapping[str, Any]) -> Refusal:
    return Refusal(
        since=moment(stored["since"]),
        until=moment(stored["until"]),
        message=text(stored, "message"),
        listed=flag(stored, "listed"),
    )


def _ceiling_values(ceiling: Ceiling) -> dict[str, Any]:
    values = {
        "most": ceiling.most,
        "refused_at": seconds(ceiling.refused_at),
        "code": ceiling.code,
        "message": ceiling.message,
        "ended_at": _maybe(ceiling.ended_at),
        "retries": ceiling.retries,
        "bound": ceiling.bound,
        "limit": ceiling.limit,
        "too_large": ceiling.too_large,
        "tight": ceiling.tight,
        "growing": ceiling.growing,
        "vms": ceiling.vms,
        "vcpus": ceiling.vcpus,
        "held": [[seconds(begin), seconds(end)] for begin, end in ceiling.held],
    }
    return {name: value for name, value in values.items() if value is not None}


def _ceiling(stored: Mapping[str, Any]) -> Ceiling:
    return Ceiling(
        most=count(stored, "most"),
        refused_at=moment(stored["refused_at"]),
        code=text(stored, "code"),
        message=text(stored, "message"),
        ended_at=maybe_at(stored, "ended_at"),
        retries=count(stored, "retries"),
        bound=maybe_whole(stored, "bound"),
        limit=maybe_whole(stored, "limit"),
        too_large=maybe_whole(stored, "too_large"),
        tight=flag(stored, "tight"),
        growing=flag(stored, "growing"),
        vms=maybe_whole(stored, "vms"),
        vcpus=maybe_whole(stored, "vcpus"),
        held=tuple((moment(begin), moment(end)) for begin, end in stored["held"]),
    )


def _backoff_values(backoff: Backoff) -> dict[str, Any]:
    return {
        "failures": backoff.failures,
        "since": seconds(backoff.since),
        "until": seconds(backoff.until),
        "recent": [[seconds(at), count] for at, count in backoff.recent],
        "message": backoff.message,
        "suspect": backoff.suspect,
    }


def _backoff(stored: Mapping[str, Any]) -> Backoff:
    return Backoff(
        failures=count(stored, "failures"),
        since=moment(stored["since"]),
        until=moment(stored["until"]),
        recent=tuple((moment(at), int(count)) for at, count in stored["recent"]),
        message=text(stored, "message"),
        suspect=flag(stored, "suspect"),
    )


def _trouble_values(trouble: Trouble) -> dict[str, Any]:
    values = {
        "at": seconds(trouble.at),
        "misses": trouble.misses,
        "missed_at": _maybe(trouble.missed_at),
        "suspended_until": _maybe(trouble.suspended_until),
        "unprepared": trouble.unprepared,
        "retry_at": _maybe(trouble.retry_at),
        "reason": trouble.reason,
        "counted": list(trouble.counted),
    }
    return {name: value for name, value in values.items() if value is not None}


def _trouble(stored: Mapping[str, Any]) -> Trouble:
    return Trouble(
        at=moment(stored["at"]),
        misses=count(stored, "misses"),
        missed_at=maybe_at(stored, "missed_at"),
        suspended_until=maybe_at(stored, "suspended_until"),
        unprepared=count(stored, "unprepared"),
        retry_at=maybe_at(stored, "retry_at"),
        reason=text(stored, "reason"),
        counted=tuple(InstanceId(_words(one)) for one in stored["counted"]),
    )


def _level_values(level: Level | None) -> dict[str, Any] | None:
    return None if level is None else {"tokens": str(level.tokens), "at": seconds(level.at)}


def _level(stored: Mapping[str, Any]) -> Level:
    tokens = float(text(stored, "tokens"))
    if not math.isfinite(tokens):  # a budget with it would be full, or empty, for ever
        raise ValueError("a number that is none")
    return Level(tokens=tokens, at=moment(stored["at"]))


def _words(stored: object) -> str:
    if not isinstance(stored, str):
        raise TypeError("words that are no text")
    return stored


def _maybe(at: datetime | None) -> Any:  # noqa: ANN401  (as `seconds` gives it)
    return None if at is None else seconds(at)


def _each(
    values: Mapping[str, Any], name: str, key: Callable[[str], KeyT], read: Callable[[Any], PartT]
) -> dict[KeyT, PartT]:
    """The entries of a map; one that cannot be read costs only itself."""
    stored = values.get(name)
    if not isinstance(stored, Mapping):
        return {}
    parts = {key(one): _part(partial(read, entry), None) for one, entry in stored.items()}
    return {one: part for one, part in parts.items() if part is not None}


def _part(read: Callable[[], PartT], otherwise: PartT) -> PartT:
    try:
        return read()
    except UNREADABLE:
        return otherwise
