"""Lease loop: runs cycles in one invocation, from taking the lease to the handover.

A scheduled invocation starts while the previous one still runs. It signals that it waits to take over. The lease holder
reads the signal when it renews its lease, and releases the lease. An invocation that is only a wake-up records its
signal and exits.

No cycle begins unless its invocation holds the lease and the lease is fresh enough for the cycle. So the holder also
renews the lease while it rests between two cycles.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent_stack.domain.errors import AgentStackError, ConfigurationError
from agent_stack.domain.pauses import Pauses
from agent_stack.ports import Clock, Deadline, HeldLease, Ids, Lease, Telemetry

LEASE = timedelta(seconds=9)
"""Another invocation takes over from a dead lease holder after this time. A cycle that takes longer may lose its lease;
the fencing number and the ledger's conditions make that harmless."""

HANDOVER_TIMEOUT = timedelta(seconds=10)
"""How long a successor waits: slightly longer than the lease of a dead holder lasts."""

MAX_UNRENEWED_AGE = timedelta(seconds=5)
"""How old the lease of an idle holder may become, also within a long pause. A cycle may find work and then has the rest
of the lease for it. A renewal is a write that costs money, and the holder sees signals only when it renews. With this
value a successor, which is billed while it waits, waits two and a half seconds on average."""

CYCLE_MARGIN = 2
"""A cycle begins on a lease that lasts this many times as long as the slowest recent cycle took."""

FORGETTING = 0.9
"""What each cycle leaves of the time of the slowest one, so that one slow cycle does not cost writes for minutes."""

HANDOVER_POLL = timedelta(milliseconds=500)
BUSY_PERIOD = timedelta(seconds=1)
"""From the start of one cycle to the start of the next while there is work."""

SHORTEST_PAUSE = timedelta(milliseconds=100)
NO_PAUSE = timedelta()

RESERVE = timedelta(seconds=15)
"""No cycle begins with less time left. It covers one try of the slowest request and the writes around it."""


def busy_pause(took: timedelta) -> timedelta:
    """The rest of the period after a cycle that took this long."""
    return max(SHORTEST_PAUSE, BUSY_PERIOD - took)


@dataclass(slots=True, kw_only=True)
class Tenure:
    """The lease as its holder sees it. A step of the machine's clock does not change its age.

    Attributes:
        renewed_at: when the latest acquisition or renewal was requested, by the monotonic clock.
        slowest_cycle: how long the slowest cycle took; shrinks with each cycle.
    """

    held: HeldLease
    renewed_at: timedelta
    slowest_cycle: timedelta = NO_PAUSE

    def until_stale(self, at: timedelta) -> timedelta:
        """How long the holder may rest from that time before it must renew; zero or negative when it must renew now."""
        return self.renewed_at + MAX_UNRENEWED_AGE - at

    def lasts_for_a_cycle(self, at: timedelta) -> bool:
        """Whether the lease outlives a cycle that begins at that time."""
        needed = max(LEASE - MAX_UNRENEWED_AGE, CYCLE_MARGIN * self.slowest_cycle)
        return at - self.renewed_at <= max(LEASE - needed, NO_PAUSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseLoop:
    """Runs cycle after cycle while this invocation holds the lease and there is time.

    Attributes:
        work: runs one cycle at the given time under the given fencing number; True while there is work to do.
        drain: collects the answers that only this process receives, and yields its pauses. Starts after the release.
        idle_pause: how long to wait after a cycle without work; None to exit instead.
        observe: gets what an operator has paused, and when the lease was asked, by the monotonic clock.
    """

    work: Callable[[datetime, int], bool]
    drain: Callable[[], Iterator[timedelta]]
    idle_pause: timedelta | None
    lease: Lease
    clock: Clock
    ids: Ids
    deadline: Deadline
    telemetry: Telemetry
    observe: Callable[[Pauses, timedelta], None] = lambda _pauses, _at: None

    def __call__(self, *, scheduled: bool) -> None:
        """One invocation: sleeps each pause of `pauses`.

        Args:
            scheduled: True: run cycles, and wait for the lease. False: a wake-up; signal the lease holder, if any.

        Raises:
            ConfigurationError: a setting is wrong; no cycle can work until an operator fixes it.
        """
        for pause in self.pauses(scheduled=scheduled):
            if pause:
                self.clock.sleep(pause)

    def pauses(self, *, scheduled: bool) -> Iterator[timedelta]:
        """Runs one piece of work at a time, and yields how long to wait before the next.

        Lambda sleeps during a pause; the simulation runs other processes.

        Raises:
            ConfigurationError: see `__call__`.
        """
        tenure = yield from self._take(self.ids.holder(), scheduled=scheduled)
        if tenure is None:
            return
        self.telemetry.carry(fence=tenure.held.fence)
        self.observe(tenure.held.pauses, tenure.renewed_at)
        try:
            yield from self._cycles(tenure)
        except GeneratorExit:
            raise
        except BaseException:
            self._release_early(tenure.held)
            raise
        try:
            yield from self.drain()
        except AgentStackError as error:
            self.telemetry.info("launches_left_in_flight", error=str(error))

    def _take(self, holder: str, *, scheduled: bool) -> Generator[timedelta, None, Tenure | None]:
        """Takes the lease. A scheduled invocation waits until the holder releases it or dies."""
        until = self.clock.monotonic() + HANDOVER_TIMEOUT
        signalled = False
        while True:
            asked_at = self.clock.monotonic()
            try:
                held = self.lease.acquire(holder, now=self.clock.now(), ttl=LEASE)
                if held is not None:
                    return Tenure(held=held, renewed_at=asked_at)
                if not signalled:
                    self.lease.signal(holder, handover=scheduled)
                    signalled = True
            except ConfigurationError:
                raise
            except AgentStackError as error:
                self.telemetry.warning("lease_not_taken", error=str(error))
            if not scheduled:
                return None
            if self.clock.monotonic() >= until or self.deadline.left() <= RESERVE:
                self.telemetry.info("lease_held_by_another")
                return None
            yield HANDOVER_POLL

    def _cycles(self, tenure: Tenure) -> Iterator[timedelta]:
        """Runs cycles until another invocation takes over, or time or work runs out."""
        while True:
            began = self.clock.monotonic()
            busy = self._cycle(tenure.held)
            took = self.clock.monotonic() - began
            tenure.slowest_cycle = max(tenure.slowest_cycle * FORGETTING, took)
            pause = busy_pause(took) if busy else self.idle_pause
            if not (yield from self._rest(tenure, pause, renew=busy or pause is None)):
                return

    def _rest(self, tenure: Tenure, pause: timedelta | None, *, renew: bool) -> Generator[timedelta, None, bool]:
        """Waits until the next cycle, and renews the lease as often as it must be; False when the invocation is over.

        A signal ends the rest, so the holder answers it within `MAX_UNRENEWED_AGE`, however long its pauses are.

        Args:
            pause: None: there is no work; the invocation ends, unless a signal has arrived.
            renew: renew the lease at once, because the holder has work or ends.
        """
        wake_at = self.clock.monotonic() + (pause or NO_PAUSE)
        fresh = False
        while True:
            now = self.clock.monotonic()
            left = max(NO_PAUSE, wake_at - now)
            ending = self.deadline.left() <= RESERVE + left
            stale = tenure.until_stale(now) <= NO_PAUSE or not (left or fresh or tenure.lasts_for_a_cycle(now))
            if renew or ending or stale:
                renew = False
                try:
                    wanted = self._renew(tenure, ending=ending, idle=pause is None)
                except ConfigurationError:
                    raise
                except AgentStackError as error:
                    self.telemetry.warning("lease_not_renewed", error=str(error))
                    if self.deadline.left() <= RESERVE:
                        return False  # the next invocation takes over when the lease expires
                    yield BUSY_PERIOD
                    continue
                if wanted is not None:
                    yield NO_PAUSE
                    return wanted
                fresh = not left  # as fresh as a lease can be for the cycle that is due
            elif not left:
                return True
            else:
                yield min(left, tenure.until_stale(now))

    def _renew(self, tenure: Tenure, *, ending: bool, idle: bool) -> bool | None:
        """Renews the lease, and releases it for a successor, at the end of the time, or without work.

        Returns:
            None: rest on. True: run a cycle now, because a signal arrived. False: this invocation is over.
        """
        asked_at = self.clock.monotonic()
        renewed = self.lease.renew(tenure.held, now=self.clock.now(), ttl=LEASE)
        if renewed is None:
            self.telemetry.info("lease_superseded", fence=tenure.held.fence)
            return False
        signalled = renewed.signals != tenure.held.signals
        tenure.held, tenure.renewed_at = renewed, asked_at
        self.observe(renewed.pauses, asked_at)
        if renewed.successor is not None or ending or (idle and not signalled):
            # A signal that arrives before the release asks for another cycle, for which there may be no time.
            return not self.lease.release(renewed) and self.deadline.left() > RESERVE
        return True if signalled else None

    def _cycle(self, held: HeldLease) -> bool:
        started = self.clock.now()
        try:
            return self.work(started, held.fence)
        except ConfigurationError:
            raise
        except AgentStackError as error:
            self.telemetry.error("cycle_failed", error=str(error))
            return True

    def _release_early(self, held: HeldLease) -> None:
        """Releases the lease after a failure, so that the next invocation does not wait until it expires."""
        try:
            latest = self.lease.renew(held, now=self.clock.now(), ttl=LEASE)
            if latest is not None:
                self.lease.release(latest)
        except AgentStackError as error:
            self.telemetry.info("lease_not_released", error=str(error))
