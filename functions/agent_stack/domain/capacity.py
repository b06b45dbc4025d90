"""What EC2 taught us: which pools are dry, which classes cannot be launched, and how much it grants how fast.

Kept in the ledger, so that the next run of the dispatcher does not learn it again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

from agent_stack.domain.classes import VmClass
from agent_stack.domain.identifiers import ClassName
from agent_stack.domain.launching import LaunchError, LaunchErrorClass
from agent_stack.domain.states import CapacityType

UNAVAILABLE_FOR = timedelta(minutes=3)
"""How long a dry pool is left alone. Source: what Karpenter found to work."""

SHORTEST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(seconds=30)

LOOK_AHEAD = timedelta(seconds=30)
"""Jobs are admitted that EC2's budget will grant within that time; more would only wait in our hands."""

BATCH_WINDOW = timedelta(seconds=5)
"""When jobs wait for EC2's budget anyway, this much of what it grants is asked for in one request, not one by one."""

BREAKER_FIRST = timedelta(seconds=60)
BREAKER_LAST = timedelta(minutes=15)
ACCOUNT = ClassName("*")
"""Stands for every class among the breakers: the account itself cannot launch."""

MAX_UNAVAILABLE_POOLS = 200  # pools remembered; keeps the item under DynamoDB's and our own limits
MAX_MESSAGE_CHARACTERS = 300
MAX_CLASSES = 64  # classes remembered: jobs invent them, as in large/m7i.xlarge/spot
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A token bucket as EC2 keeps one."""

    burst: float
    per_second: float


REQUESTS = Budget(burst=50, per_second=5)
"""CreateFleet requests. Source: the request throttling page of the EC2 developer guide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """How full a bucket was at a moment."""

    tokens: float
    at: datetime

    def now(self, budget: Budget, now: datetime) -> float:
        """How full it is by now."""
        grown = max(0.0, (now - self.at).total_seconds()) * budget.per_second
        return min(budget.burst, self.tokens + grown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Launches that are not tried for a while, after how many failures in a row, and EC2's words."""

    until: datetime
    since: datetime
    failures: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Nothing is asked of EC2 until then, after so many throttles in a row."""

    until: datetime
    throttles: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchMemory:
    """All of it.

    Attributes:
        cooling: pools (market:type:zone) and whole markets (market) with the end of their rest.
        breakers: by class, or `ACCOUNT`.
        instances: EC2's bucket of instances as we believe it to be; None while untouched, which is full.
        requests: the same for EC2's bucket of CreateFleet requests.
        pause: after a throttle, whatever was throttled.
        asked: what was asked for within the last minute.
        last_words: EC2's latest reason by class, for the jobs that go without.
    """

    unavailable_pools: Mapping[str, datetime] = field(default_factory=dict)
    breakers: Mapping[ClassName, Breaker] = field(default_factory=dict)
    instances: Level | None = None
    requests: Level | None = None
    pause: Pause | None = None
    asked: tuple[tuple[datetime, int], ...] = ()
    last_error_by_class: Mapping[ClassName, str] = field(default_factory=dict)

    def granted(self, budget: Budget, now: datetime, ahead: timedelta = timedelta()) -> int:
        """How many instances EC2 will grant by `ahead` from now."""
        tokens = _left(self.instances, budget, now)
        return int(tokens + ahead.total_seconds() * budget.per_second)

    def requests_left(self, now: datetime) -> int:
        """How many CreateFleet requests EC2 takes at once."""
        return int(_left(self.requests, REQUESTS, now))

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
        """EC2 said that there were too many requests, ours or others'.

        Args:
            jitter: a number in [0, 1), so that whoever was throttled together does not come again together.
        """
        before = self.pause
        again = before is not None and now - before.until < MINUTE
        throttles = before.throttles + 1 if before is not None and again else 1
        rest = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2**throttles) * jitter
        return replace(self, pause=Pause(until=now + max(SHORTEST_PAUSE, rest), throttles=throttles))

    def asked_within_a_minute(self, now: datetime) -> int:
        """How many VMs were asked for in the last minute."""
        return sum(count for at, count in self.asked if now - at < MINUTE)

    def breaker(self, name: ClassName, now: datetime) -> Breaker | None:
        """What keeps launches of that class back now, if anything does."""
        for key in (ACCOUNT, name):
            breaker = self.breakers.get(key)
            if breaker is not None and breaker.until > now:
                return breaker
        return None

    def unavailable(self, now: datetime) -> frozenset[str]:
        """Pools and markets that are left alone now."""
        return frozenset(pool for pool, until in self.unavailable_pools.items() if until > now)

    def asking(self, count: int, budget: Budget, now: datetime, *, requests: int = 1) -> Self:
        """That many are asked for now, in so many requests."""
        tokens = _left(self.instances, budget, now)
        requests_left = _left(self.requests, REQUESTS, now) - requests
        recent = tuple((at, asked) for at, asked in self.asked if now - at < MINUTE)
        return replace(
            self,
            instances=Level(tokens=max(0.0, tokens - count), at=now),
            requests=Level(tokens=max(0.0, requests_left), at=now),
            asked=(*recent, (now, count)),
        )

    def answered(
        self, name: ClassName, *, launched: int, errors: Sequence[LaunchError], now: datetime, jitter: float
    ) -> Self:
        """EC2 answered a launch of that class."""
        learnt = self
        if launched:
            kept = {key: breaker for key, breaker in self.breakers.items() if key not in (ACCOUNT, name)}
            others = {key: said for key, said in self.last_error_by_class.items() if key != name}
            learnt = replace(learnt, breakers=kept, pause=None, last_error_by_class=others)
        # What is dry today may have some tomorrow: beside it, another error is no proof that the class never will.
        dry = any(error.error_class in (LaunchErrorClass.CAPACITY, LaunchErrorClass.QUOTA) for error in errors)
        for error in errors:
            learnt = learnt._told(name, error, hopeful=bool(launched) or dry, now=now)
        if any(error.error_class is LaunchErrorClass.THROTTLE for error in errors):
            learnt = replace(learnt, instances=Level(tokens=0.0, at=now)).throttled(now, jitter)
        if errors:
            words = f"{errors[-1].code}: {errors[-1].message}"[:MAX_MESSAGE_CHARACTERS]
            others = {key: said for key, said in learnt.last_error_by_class.items() if key != name}
            learnt = replace(learnt, last_error_by_class=dict([*others.items(), (name, words)][-MAX_CLASSES:]))
        return learnt

    def _told(self, name: ClassName, error: LaunchError, *, hopeful: bool, now: datetime) -> Self:
        learnt = self
        match error.error_class:
            case LaunchErrorClass.CAPACITY if error.pool:
                learnt = self._cooled((error.pool,), now)
            case LaunchErrorClass.QUOTA if error.pool:
                learnt = self._cooled((error.pool.partition(":")[0],), now)
            case LaunchErrorClass.THROTTLE | LaunchErrorClass.CAPACITY | LaunchErrorClass.QUOTA:
                pass  # the first is `throttled`; of the others EC2 does not say where
            case _ if hopeful:
                pass  # some came, or may come later: it is neither the class nor the account
            case LaunchErrorClass.ACCOUNT:
                learnt = self._broken(ACCOUNT, error, now)
            case _:
                learnt = self._broken(name, error, now)
        return learnt

    def _cooled(self, pools: Iterable[str], now: datetime) -> Self:
        unavailable = {pool: until for pool, until in self.unavailable_pools.items() if until > now}
        unavailable |= dict.fromkeys(pools, now + UNAVAILABLE_FOR)
        latest = sorted(unavailable.items(), key=lambda item: item[1])[-MAX_UNAVAILABLE_POOLS:]
        return replace(self, unavailable_pools=dict(latest))

    def _broken(self, key: ClassName, error: LaunchError, now: datetime) -> Self:
        before = self.breakers.get(key)
        if before is not None and before.until > now:
            return self  # of several errors in one answer the first has opened it
        failures = before.failures + 1 if before else 1
        rest = min(BREAKER_LAST, BREAKER_FIRST * 2 ** (failures - 1))
        opened = Breaker(
            until=now + rest,
            since=before.since if before else now,
            failures=failures,
            message=f"{error.code}: {error.message}"[:MAX_MESSAGE_CHARACTERS],
        )
        lately = {name: breaker for name, breaker in self.breakers.items() if now - breaker.until < BREAKER_LAST}
        latest = sorted({**lately, key: opened}.items(), key=lambda item: item[1].until)[-MAX_CLASSES:]
        return replace(self, breakers=dict(latest))


def _left(level: Level | None, budget: Budget, now: datetime) -> float:
    return budget.burst if level is None else level.now(budget, now)


def choose_capacity_type(
    vm_class: VmClass, pools: Mapping[CapacityType, Sequence[str]], unavailable: frozenset[str]
) -> CapacityType | None:
    """The market to ask: the class's own while any pool of it is open, then the other one where the class allows it.

    Args:
        pools: every pool of the class, by market.
        resting: pools and markets that are left alone.

    Returns:
        None when every pool rests.
    """
    capacity_types = (
        (vm_class.capacity_type, CapacityType.ON_DEMAND) if vm_class.fallback else (vm_class.capacity_type,)
    )
    for capacity_type in capacity_types:
        if capacity_type not in unavailable and any(pool not in unavailable for pool in pools.get(capacity_type, ())):
            return capacity_type
    return None
