"""A shift: what one invocation does under the lease, from taking it to handing it over.

A scheduled invocation starts while the one before still works. It leaves its mark and waits; the worker finds the
mark after its tick and lets go, so that the change of shift costs no second. An invocation that was only a wake-up
leaves word and goes home.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent_stack.domain.errors import AgentStackError, ConfigurationError
from agent_stack.ports import Clock, Deadline, Held, Ids, Lease, Telemetry

LEASE = timedelta(seconds=9)
"""A worker that died is followed after that long. A tick that takes longer may be overtaken, which the fencing
number and the ledger's conditions make harmless."""

FOLLOW = timedelta(seconds=10)
"""How long a successor waits: just longer than a dead worker's lease."""

UNRENEWED = timedelta(seconds=5)
"""How old an idle worker's lease may be when a tick begins. That tick may find work; it has the rest of the lease for
it. Each renewal is a write, and only there does the worker see who knocked: seldom enough to cost little, often enough
that a successor, who is paid for while it waits, waits two seconds on average."""

LOOK_AGAIN = timedelta(milliseconds=500)
BUSY_PERIOD = timedelta(seconds=1)
"""From the beginning of one tick to that of the next while there is work."""

SHORTEST_PAUSE = timedelta(milliseconds=100)

RESERVE = timedelta(seconds=15)
"""No tick begins with less time left: one try of the slowest request, and the writes around it."""


def busy_pause(took: timedelta) -> timedelta:
    """What is left of the period after a tick that took so long."""
    return max(SHORTEST_PAUSE, BUSY_PERIOD - took)


def may_go_unrenewed(age: timedelta, pause: timedelta) -> bool:
    """Whether a lease of that age will do for the tick that begins after an idle pause."""
    return age + pause < UNRENEWED


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Works tick after tick while the lease is ours and there is time.

    Attributes:
        work: one tick at that time under that fencing number; True while there is work in hand.
        drain: waits for what only this process will hear of. Called when the lease is let go: nobody waits for that.
        idle_pause: how long to wait after a tick without work; None to go home instead.
    """

    work: Callable[[datetime, int], bool]
    drain: Callable[[], None]
    idle_pause: timedelta | None
    lease: Lease
    clock: Clock
    ids: Ids
    deadline: Deadline
    telemetry: Telemetry

    def __call__(self, *, scheduled: bool) -> None:
        """One invocation.

        Args:
            scheduled: it is meant to work; otherwise it only brings news.

        Raises:
            ConfigurationError: a setting is wrong; nobody can work until it is mended.
        """
        held = self._take_over(scheduled=scheduled)
        if held is None:
            return
        self.telemetry.carry(fence=held.fence)
        try:
            self._until_relieved(held)
        except BaseException:
            self._let_go(held)
            raise
        try:
            self.drain()
        except AgentStackError as error:
            self.telemetry.warning("not_drained", error=str(error))

    def _take_over(self, *, scheduled: bool) -> Held | None:
        holder = self.ids.holder()
        held = self.lease.acquire(holder, now=self.clock.now(), ttl=LEASE)
        if held is not None:
            return held
        self.lease.knock(holder, follow=scheduled)
        if not scheduled:
            return None
        give_up_at = self.clock.now() + FOLLOW
        while held is None and self.clock.now() < give_up_at and self.deadline.left() > RESERVE:
            self.clock.sleep(LOOK_AGAIN)
            held = self.lease.acquire(holder, now=self.clock.now(), ttl=LEASE)
        if held is None:
            self.telemetry.info("shift_not_taken")
        return held

    def _until_relieved(self, held: Held) -> None:
        while True:
            began = self.clock.now()
            busy = self._tick(held)
            if not busy and self._rests_on(held):
                continue
            renewed = self.lease.renew(held, now=self.clock.now(), ttl=LEASE)
            if renewed is None:
                self.telemetry.info("shift_overtaken", fence=held.fence)
                return
            news, held = renewed.wakes != held.wakes, renewed
            pause = busy_pause(self.clock.now() - began) if busy else self.idle_pause
            relieved = held.successor is not None or self.deadline.left() <= RESERVE + (pause or timedelta())
            if (relieved or (pause is None and not news)) and self.lease.release(held):
                return
            if self.deadline.left() <= RESERVE:
                return  # news came at the last moment; the next invocation starts with a full look anyway
            if not relieved and pause is not None and not news:
                self.clock.sleep(pause)

    def _rests_on(self, held: Held) -> bool:
        """After an idle tick: wait for the next one on the lease as it is, if there is enough left of it."""
        pause = self.idle_pause
        age = self.clock.now() - (held.expires_at - LEASE)
        if pause is None or not may_go_unrenewed(age, pause) or self.deadline.left() <= RESERVE + pause:
            return False
        self.clock.sleep(pause)
        return True

    def _tick(self, held: Held) -> bool:
        started = self.clock.now()
        try:
            return self.work(started, held.fence)
        except ConfigurationError:
            raise
        except AgentStackError as error:
            self.telemetry.error("tick_failed", error=str(error))
            return True

    def _let_go(self, held: Held) -> None:
        """So that whoever comes next need not wait for the lease to run out."""
        try:
            latest = self.lease.renew(held, now=self.clock.now(), ttl=LEASE)
            if latest is not None:
                self.lease.release(latest)
        except AgentStackError as error:
            self.telemetry.warning("lease_not_released", error=str(error))
