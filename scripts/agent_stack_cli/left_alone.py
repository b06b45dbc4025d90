"""What the dispatcher does not ask EC2 for now, because of EC2's answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from agent_stack.domain.breakers import ACCOUNT
from agent_stack.domain.capacity import LaunchMemory
from agent_stack.domain.quotas import current


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerView:
    """A class, a pool or the account that is left alone until then."""

    what: str
    until: datetime
    because: str


def left_alone(memory: LaunchMemory, now: datetime) -> Iterator[BreakerView]:
    """Account and classes first, then quotas, then types and pools; only what holds now."""
    return (view for view in _learnt(memory, now) if view.until > now)


def _learnt(memory: LaunchMemory, now: datetime) -> Iterator[BreakerView]:
    for name, breaker in memory.breakers.items():
        what = "account" if name == ACCOUNT else f"class {name}"
        yield BreakerView(what=what, until=breaker.until, because=breaker.message)
    for key, backoff in memory.backoffs.items():
        if backoff.failures:
            yield BreakerView(what=_of_class(key), until=backoff.until, because=backoff.message)
    for name, trouble in memory.standby.items():
        until = max((at for at in (trouble.suspended_until, trouble.retry_at) if at is not None), default=now)
        yield BreakerView(what=f"standby VMs of class {name}", until=until, because=trouble.reason)
    for bucket, ceiling in current(memory.quotas, now).items():
        yield BreakerView(what=f"quota {bucket}", until=ceiling.retry_at, because=ceiling.words(bucket))
    for key, refusal in memory.refused.items():
        yield BreakerView(what=_of_class(key), until=refusal.until, because=refusal.message)
    for pool, until in sorted(memory.unavailable_pools.items()):
        yield BreakerView(what=f"pool {pool}", until=until, because="EC2 had no capacity or no quota there")


def _of_class(key: str) -> str:
    """The memory's key `class|what`, in words."""
    name, _, what = key.partition("|")
    return f"class {name}, {what}"
