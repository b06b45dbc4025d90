"""A shift as events: one tick each, so that the other function's come in between, and a process that may outlive it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from agent_stack.domain.errors import AgentStackError
from agent_stack.ports import Held, Lease
from agent_stack.stages.launches import DRAIN_SECONDS, Launches
from agent_stack.stages.shift import LEASE, LOOK_AGAIN, busy_pause, may_go_unrenewed
from tests.simulator.universe.process import Died, Process

if TYPE_CHECKING:
    from tests.simulator.universe.universe import Universe

INVOCATION = timedelta(seconds=75)  # from its start to the last tick it may begin
BUSY = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wired:
    """A process with production wiring in it."""

    process: Process
    work: Callable[[datetime, int], bool]
    idle_pause: timedelta | None = None
    launches: Launches | None = None


@dataclass(slots=True, kw_only=True)
class Invocation:
    """A shift as events: one tick each, so that the other function's come in between."""

    universe: "Universe"
    function: str
    wired: Wired
    lease: Lease
    holder: str
    began_at: datetime
    scheduled: bool
    held: Held | None = None

    @property
    def ends_at(self) -> datetime:
        """No tick begins later."""
        return self.began_at + INVOCATION

    def begin(self) -> None:
        self._guarded(self._take)

    def _guarded(self, act: Callable[[], timedelta | None]) -> None:
        """Run one piece. It comes inside another piece of the same function's only when that has outlived its lease."""
        universe = self.universe
        if universe.on_stack[self.function] and not universe.is_overtaken(self.function):
            universe.kernel.after(timedelta(milliseconds=50), "", lambda: self._guarded(act))
            return
        if universe.on_stack[self.function]:
            universe.overlaps += 1
        universe.on_stack[self.function] += 1
        try:
            pause = act()
        except Died:
            universe.crashes += 1
            return
        except AgentStackError as error:
            universe.kernel.note(f"{self.function} tick failed: {error}"[:160])
            universe.telemetry_of(self.function).error("tick_failed", error=str(error))  # as `Shift` says it
            pause = BUSY
        finally:
            universe.on_stack[self.function] -= 1
        if pause is not None:
            universe.kernel.after(pause, "", lambda: self._guarded(self._take if self.held is None else self._tick))
        else:
            self._drain(universe.kernel.now() + DRAIN_SECONDS)

    def _take(self) -> timedelta | None:
        """Take the lease, or wait for it a while as a successor does; None to go home."""
        now = self.universe.kernel.now()
        self.held = self.lease.acquire(self.holder, now=now, ttl=LEASE)
        if self.held is not None:
            return timedelta()
        self.lease.knock(self.holder, follow=self.scheduled)
        if not self.scheduled:
            return None
        waited = now - self.began_at
        return LOOK_AGAIN if waited < timedelta(seconds=10) else None

    def _tick(self) -> timedelta | None:
        kernel = self.universe.kernel
        assert self.held is not None
        began = kernel.now()
        with self.universe.meter.included():
            busy = self.wired.work(kernel.now() + self.universe.skew.get(self.function, timedelta()), self.held.fence)
            self.universe.spend_rest()
        idle_pause, age = self.wired.idle_pause, kernel.now() - (self.held.expires_at - LEASE)
        if not busy and idle_pause is not None and may_go_unrenewed(age, idle_pause) and kernel.now() < self.ends_at:
            return idle_pause
        renewed = self.lease.renew(self.held, now=kernel.now(), ttl=LEASE)
        if renewed is None:
            return None
        news, self.held = renewed.wakes != self.held.wakes, renewed
        pause = busy_pause(kernel.now() - began) if busy else self.wired.idle_pause
        relieved = renewed.successor is not None or kernel.now() >= self.ends_at
        if (relieved or (pause is None and not news)) and self.lease.release(renewed):
            return None
        return pause or timedelta()

    def _drain(self, until: datetime) -> None:
        """Look now and then whether everything is answered; the next shift is at work meanwhile."""
        universe, launches = self.universe, self.wired.launches
        answered = launches is None or not launches.under_way or universe.kernel.now() >= until
        if launches is not None and launches.answered:
            try:
                launches.record(launches.collect())
            except Died:
                universe.crashes += 1
                return
            except AgentStackError as error:
                universe.kernel.note(f"not drained: {error}"[:160])
        if answered:
            universe.rest(self)
        else:
            universe.kernel.after(LOOK_AGAIN, "", lambda: self._drain(until))
