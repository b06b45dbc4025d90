"""One invocation as events of the kernel: production's lease loop, a piece at a time, with others in between."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from agent_stack.domain.pauses import Pauses
from agent_stack.lease_loop import LeaseLoop
from agent_stack.ports import Lease
from agent_stack.settings import Settings
from tests.simulator.deployment.timeout import function_timeout
from tests.simulator.identity import SeededIds
from tests.simulator.simulation.kernel import Kernel
from tests.simulator.simulation.process import Died, Process

if TYPE_CHECKING:
    from tests.simulator.simulation.simulation import Simulation

RETRY = timedelta(milliseconds=50)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wired:
    """A process with production wiring in it.

    Attributes:
        begin: what the function does at the start of an invocation; told whether the schedule started it.
    """

    process: Process
    work: Callable[[datetime, int], bool]
    begin: Callable[[bool], None] = lambda _: None
    drain: Callable[[], Iterator[timedelta]] = lambda: iter(())
    idle_pause: timedelta | None = None
    observe: Callable[[Pauses, timedelta], None] = lambda _pauses, _at: None


@dataclass(frozen=True, slots=True, kw_only=True)
class CountDown:
    """See the port `Deadline`: the function's time-out."""

    kernel: Kernel
    ends_at: datetime

    def left(self) -> timedelta:
        """See the port."""
        return max(timedelta(), self.ends_at - self.kernel.now())


@dataclass(slots=True, kw_only=True)
class Invocation:
    """Plays the pauses of one invocation of a function."""

    simulation: "Simulation"
    function: str
    wired: Wired
    lease: Lease
    ids: SeededIds
    scheduled: bool
    settings: Settings = field(init=False)
    """Those that were deployed when it began."""
    began_at: datetime = field(init=False)
    _pauses: Iterator[timedelta] = field(init=False)

    def __post_init__(self) -> None:
        kernel = self.simulation.kernel
        self.began_at, self.settings = kernel.now(), self.simulation.settings
        loop = LeaseLoop(
            work=self._work,
            drain=self.wired.drain,
            idle_pause=self.wired.idle_pause,
            lease=self.lease,
            clock=kernel,
            ids=self.ids,
            deadline=CountDown(kernel=kernel, ends_at=self.began_at + function_timeout()),
            telemetry=self.simulation.telemetry_of(self.function),
            observe=self.wired.observe,
        )
        self._pauses = loop.pauses(scheduled=self.scheduled)

    def begin(self) -> None:
        """The function is invoked."""
        self.wired.begin(self.scheduled)
        self._go_on()

    def _go_on(self) -> None:
        """One piece. It comes inside another piece of the same function's only when that has outlived its lease."""
        simulation = self.simulation
        if simulation.on_stack[self.function] and not simulation.is_overtaken(self.function):
            simulation.kernel.after(RETRY, "", self._go_on)
            return
        if simulation.on_stack[self.function]:
            simulation.overlaps += 1
        simulation.on_stack[self.function] += 1
        try:
            pause = next(self._pauses, None)
        except Died:
            simulation.crashes += 1
            return
        finally:
            simulation.on_stack[self.function] -= 1
        if pause is None:
            simulation.rest(self)
        else:
            simulation.kernel.after(pause, "", self._go_on)

    def _work(self, now: datetime, fence: int) -> bool:
        """One cycle, by the function's own clock."""
        if self.simulation.is_overtaken(self.function):
            self.simulation.unleased += 1
        skew = self.simulation.skew.get(self.function, timedelta())
        with self.simulation.meter.included():
            busy = self.wired.work(now + skew, fence)
            self.simulation.spend_rest()
        return busy
