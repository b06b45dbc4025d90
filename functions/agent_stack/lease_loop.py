"""Lease loop: runs cycles in one invocation, from taking the lease to the handover.

A scheduled invocation starts while the previous one still runs. It signals that it waits to take over. The lease holder
reads the signal after its cycle and releases the lease, so a handover takes less than a second. An invocation that is
only a wake-up records its signal and exits.
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
"""How old the lease of an idle holder may be when a cycle begins. That cycle may find work and then has the rest of the
lease for it. A renewal is a write that costs money, and the holder sees signals only when it renews. With this value a
successor, which is billed while it waits, waits two seconds on average."""

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


def may_go_unrenewed(age: timedelta, pause: timedelta) -> bool:
    """Whether a lease of this age is fresh enough for the cycle after an idle pause."""
    return age + pause < MAX_UNRENEWED_AGE


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseLoop:
    """Runs cycle after cycle while this invocation holds the lease and there is time.

    Attributes:
        work: runs one cycle at the given time under the given fencing number; True while there is work to do.
        drain: collects the answers that only this process receives, and yields its pauses. Starts after the release.
        idle_pause: how long to wait after a cycle without work; None to exit instead.
        observe: told what an operator has paused, as the lease showed it at this time.
    """

    work: Callable[[datetime, int], bool]
    drain: Callable[[], Iterator[timedelta]]
    idle_pause: timedelta | None
    lease: Lease
    clock: Clock
    ids: Ids
    deadline: Deadline
    telemetry: Telemetry
    observe: Callable[[Pauses, datetime], None] = lambda _pauses, _at: None

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
        held = yield from self._take(self.ids.holder(), scheduled=scheduled)
        if held is None:
            return
        self.telemetry.carry(fence=held.fence)
        self.observe(held.pauses, held.expires_at - LEASE)
        try:
            yield from self._cycles(held)
        except GeneratorExit:
            raise
        except BaseException:
            self._release_early(held)
            raise
        try:
            yield from self.drain()
        except AgentStackError as error:
            self.telemetry.warning("not_drained", error=str(error))

    def _take(self, holder: str, *, scheduled: bool) -> Generator[timedelta, None, HeldLease | None]:
        """Takes the lease. A scheduled invocation waits until the holder releases it or dies."""
        until = self.clock.now() + HANDOVER_TIMEOUT
        signalled = False
        while True:
            try:
                held = self.lease.acquire(holder, now=self.clock.now(), ttl=LEASE)
                if held is not None:
                    return held
                if not signalled:
                    self.lease.signal(holder, handover=scheduled)
                    signalled = True
            except ConfigurationError:
                raise
            except AgentStackError as error:
                self.telemetry.warning("lease_not_taken", error=str(error))
            if not scheduled:
                return None
            if self.clock.now() >= until or self.deadline.left() <= RESERVE:
                self.telemetry.info("shift_not_taken")
                return None
            yield HANDOVER_POLL

    def _cycles(self, held: HeldLease) -> Iterator[timedelta]:
        """Runs cycles until another invocation takes over, or time or work runs out."""
        while True:
            began = self.clock.now()
            busy = self._cycle(held)
            if not busy and self.idle_pause is not None and self._can_skip_renewal(held, self.idle_pause):
                yield self.idle_pause
                continue
            pause = busy_pause(self.clock.now() - began) if busy else self.idle_pause
            try:
                renewed = self.lease.renew(held, now=self.clock.now(), ttl=LEASE)
                if renewed is None:
                    self.telemetry.info("shift_overtaken", fence=held.fence)
                    return
                signalled, held = renewed.signals != held.signals, renewed
                self.observe(held.pauses, held.expires_at - LEASE)
                ending = held.successor is not None or self.deadline.left() <= RESERVE + (pause or NO_PAUSE)
                if (ending or (pause is None and not signalled)) and self.lease.release(held):
                    return
            except ConfigurationError:
                raise
            except AgentStackError as error:
                self.telemetry.warning("lease_not_renewed", error=str(error))
                signalled, ending, pause = False, False, BUSY_PERIOD
            if self.deadline.left() <= RESERVE:
                return  # the next invocation takes over when the lease expires, and starts with a full cycle
            yield NO_PAUSE if ending or pause is None or signalled else pause

    def _can_skip_renewal(self, held: HeldLease, pause: timedelta) -> bool:
        """After an idle cycle: whether the lease lasts for the cycle after the pause without a renewal."""
        age = self.clock.now() - (held.expires_at - LEASE)
        return may_go_unrenewed(age, pause) and self.deadline.left() > RESERVE + pause

    def _cycle(self, held: HeldLease) -> bool:
        started = self.clock.now()
        try:
            return self.work(started, held.fence)
        except ConfigurationError:
            raise
        except AgentStackError as error:
            self.telemetry.error("tick_failed", error=str(error))
            return True

    def _release_early(self, held: HeldLease) -> None:
        """Releases the lease after a failure, so that the next invocation does not wait until it expires."""
        try:
            latest = self.lease.renew(held, now=self.clock.now(), ttl=LEASE)
            if latest is not None:
                self.lease.release(latest)
        except AgentStackError as error:
            self.telemetry.warning("lease_not_released", error=str(error))
