"""Breakers: launches that are not tried for a while, because EC2 says that the class, or the account, is wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.texts import crop_characters

BREAKER_FIRST = timedelta(seconds=60)
BREAKER_LAST = timedelta(minutes=15)
ACCOUNT = ClassName("*")
"""Stands for every class among the breakers: the account itself cannot launch."""

MAX_BREAKERS = 64
"""Jobs may invent class names, by the types that they choose; those that opened last are kept."""

MAX_MESSAGE_CHARACTERS = 300
_KEPT = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Launches that are not tried for a while, after how many failures in a row, and EC2's words.

    Attributes:
        definite: EC2 says in a documented way that it is wrong; else it only looks so, and no job is failed for it.
    """

    until: datetime
    since: datetime
    failures: int
    message: str
    definite: bool = True


def words_of(code: str, message: str) -> str:
    """EC2's code and words, short enough to be kept."""
    return crop_characters(f"{code}: {message}", MAX_MESSAGE_CHARACTERS)


def opened(
    breakers: Mapping[ClassName, Breaker], key: ClassName, message: str, now: datetime, *, definite: bool
) -> Mapping[ClassName, Breaker]:
    """The breakers with that one open: for a minute first, then for longer each time, up to a quarter of an hour."""
    before = breakers.get(key)
    if before is not None and before.until > now:
        return breakers  # of several errors in one answer the first has opened it
    failures = before.failures + 1 if before else 1
    rest = min(BREAKER_LAST, BREAKER_FIRST * 2 ** min(failures - 1, 10))
    breaker = Breaker(
        until=now + rest,
        since=before.since if before else now,
        failures=failures,
        message=message,
        definite=definite,
    )
    kept = {name: one for name, one in breakers.items() if name != key and now - one.until < _KEPT}
    latest = sorted(kept.items(), key=lambda item: item[1].until)[-(MAX_BREAKERS - 1) :]
    return {**dict(latest), key: breaker}
