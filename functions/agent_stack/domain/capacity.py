"""What EC2 taught the dispatcher, and how much EC2 grants how fast.

Kept in the ledger, so that the next run of the dispatcher does not learn it again. What an answer teaches stands in
`lessons`; each kind of lesson has a module of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

from agent_stack.domain.backoff import (
    CALLS_OF_A_LAUNCH,
    CALLS_PER_MINUTE,
    CALLS_PER_MINUTE_OF_ALL,
    FALL_BACK_AFTER,
    Backoff,
    backoff_key,
)
from agent_stack.domain.breakers import ACCOUNT, Breaker
from agent_stack.domain.budgets import BATCH_WINDOW, REQUESTS, Budget, Level, Pause, left, paused_again
from agent_stack.domain.classes import base_name
from agent_stack.domain.identifiers import Bucket, ClassName
from agent_stack.domain.quotas import Ceiling, Held
from agent_stack.domain.standby_trouble import Trouble
from agent_stack.domain.states import CapacityType
from agent_stack.domain.unavailable import Refusal, is_refused, is_unavailable

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchMemory:
    """All of it. Each mapping is bounded, and its entries expire.

    Attributes:
        unavailable_pools: pools, zones (`*:*:zone`) and capacity types that are not asked, with the end of that.
        refused: types and pools that EC2 refuses one class; see `unavailable`.
        quotas: the vCPU quotas that have refused something.
        backoffs: by class and capacity type, what failed as a whole.
        breakers: by class, or `ACCOUNT`.
        instances: EC2's bucket of instances as we believe it to be; None while untouched, which is full.
        requests: the same for EC2's bucket of CreateFleet requests.
        pause: after a throttle, whatever was throttled.
        asked: what was asked for within the last minute.
        last_error_by_class: EC2's latest reason by the operator's class, for the jobs that go without.
        began_at: the first answer of this deployment; None before it.
        worked_at: the latest answer that brought a VM.
        seen: by class and capacity type, when it asked last within minutes.
        standby: by class, what keeps it from having standby VMs for a while.
        preempting: when jobs waited for room that standby VMs left, which were being ended, or VMs of other jobs within
            MaxVcpus or a class's maximum; oldest first.
    """

    unavailable_pools: Mapping[str, datetime] = field(default_factory=dict)
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    quotas: Mapping[Bucket, Ceiling] = field(default_factory=dict)
    backoffs: Mapping[str, Backoff] = field(default_factory=dict)
    breakers: Mapping[ClassName, Breaker] = field(default_factory=dict)
    instances: Level | None = None
    requests: Level | None = None
    pause: Pause | None = None
    asked: tuple[tuple[datetime, int], ...] = ()
    last_error_by_class: Mapping[ClassName, str] = field(default_factory=dict)
    began_at: datetime | None = None
    worked_at: datetime | None = None
    seen: Mapping[str, datetime] = field(default_factory=dict)
    standby: Mapping[ClassName, Trouble] = field(default_factory=dict)
    preempting: Held = ()

    def granted(self, budget: Budget, now: datetime, ahead: timedelta = timedelta()) -> int:
        """How many instances EC2 will grant by `ahead` from now."""
        return int(left(self.instances, budget, now) + ahead.total_seconds() * budget.per_second)

    def requests_left(self, now: datetime) -> int:
        """How many CreateFleet requests EC2 takes at once."""
        return int(left(self.requests, REQUESTS, now))

    def paused(self, now: datetime) -> bool:
        """Whether EC2 is left alone for a moment."""
        return self.pause is not None and now < self.pause.until

    def worth_asking(self, count: int, budget: Budget, now: datetime) -> bool:
        """Whether EC2 would grant all of so many VMs now, or enough of them for a request."""
        if self.paused(now) or not self.requests_left(now):
            return False
        enough = max(1, int(min(budget.burst, budget.per_second * BATCH_WINDOW.total_seconds())))
        return self.granted(budget, now) >= min(count, enough)

    def throttled(self, now: datetime, jitter: float) -> Self:
        """EC2 said that there were too many requests, ours or others'; `jitter` is a number in [0, 1)."""
        return replace(self, pause=paused_again(self.pause, now, jitter))

    def asked_within_a_minute(self, now: datetime) -> int:
        """How many VMs were asked for in the last minute."""
        return sum(count for at, count in self.asked if now - at < MINUTE)

    def breaker(self, name: ClassName, now: datetime) -> Breaker | None:
        """What keeps launches of that class back now, if anything does."""
        for key in (ACCOUNT, name):
            breaker = self.breakers.get(key)
            if breaker is not None and breaker.until > now and (key == name or breaker.definite):
                return breaker
        return None

    def is_open(self, name: ClassName, pool: str, now: datetime) -> bool:
        """Whether that class may ask that pool now; quotas apart."""
        base = base_name(name)
        return not is_unavailable(pool, self.unavailable_pools, now) and not is_refused(base, pool, self.refused, now)

    def unavailable(self, now: datetime) -> frozenset[str]:
        """Pools, zones and capacity types that are not asked now."""
        return frozenset(pool for pool, until in self.unavailable_pools.items() if until > now)

    def backoff(self, name: ClassName, capacity_type: CapacityType) -> Backoff | None:
        """What failed lately of that class and capacity type."""
        return self.backoffs.get(backoff_key(name, capacity_type))

    def may_ask(self, name: ClassName, capacity_type: CapacityType, now: datetime, *, on_their_way: int = 0) -> bool:
        """Whether that class may ask for that capacity type now.

        One in which nothing works waits, and all such classes share one rate.

        Args:
            on_their_way: launches of such classes without an answer yet; each may make all its calls.
        """
        backoff = self.backoff(name, capacity_type)
        if backoff is None:
            return True
        own = sum(one.calls(now) for kind in CapacityType if (one := self.backoff(name, kind)) is not None)
        calls = sum(one.calls(now) for one in self.backoffs.values() if one.failures)
        calls += on_their_way * CALLS_OF_A_LAUNCH
        shared = not backoff.failures or calls + CALLS_OF_A_LAUNCH <= CALLS_PER_MINUTE_OF_ALL
        return now >= backoff.until and own + CALLS_OF_A_LAUNCH <= CALLS_PER_MINUTE and shared

    def falls_back(self, name: ClassName, capacity_type: CapacityType, now: datetime) -> bool:
        """Whether requests of that class for that capacity type keep failing, and it is not time to try again."""
        backoff = self.backoff(name, capacity_type)
        return (
            backoff is not None and backoff.failures >= FALL_BACK_AFTER and not self.may_ask(name, capacity_type, now)
        )

    def asking(self, count: int, budget: Budget, now: datetime, *, requests: int = 1) -> Self:
        """That many are asked for now, in so many requests."""
        tokens = left(self.instances, budget, now)
        requests_left = left(self.requests, REQUESTS, now) - requests
        recent = tuple((at, asked) for at, asked in self.asked if now - at < MINUTE)
        return replace(
            self,
            instances=Level(tokens=max(0.0, tokens - count), at=now),
            requests=Level(tokens=max(0.0, requests_left), at=now),
            asked=(*recent, (now, count)),
        )
