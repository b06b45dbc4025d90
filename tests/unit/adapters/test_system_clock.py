"""The clock of a process that Lambda freezes between its invocations."""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from agent_stack.adapters.system import InvocationDeadline, SystemClock
from agent_stack.wiring.deployment import Deployment
from tests.unit.values import an_environment

MINUTE = timedelta(minutes=1)


@dataclass
class Machine:
    """A wall clock, and a counter that stands still while the process is frozen."""

    wall: datetime = field(default_factory=lambda: datetime(2026, 11, 26, tzinfo=UTC))
    counter: float = 100.0

    def clock(self) -> SystemClock:
        return SystemClock(wall=lambda: self.wall, counter=lambda: self.counter)

    def runs(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.counter += seconds

    def is_frozen(self, duration: timedelta) -> None:
        self.wall += duration


def test_time_in_which_the_process_was_frozen_counts() -> None:
    machine = Machine()
    clock = machine.clock()
    began = clock.monotonic()
    machine.runs(0.4)
    machine.is_frozen(MINUTE)
    clock.thawed()
    assert clock.monotonic() - began == MINUTE + timedelta(seconds=0.4)
    machine.runs(1)
    clock.thawed()
    assert clock.monotonic() - began == MINUTE + timedelta(seconds=1.4), "nothing counts twice"


def test_a_wall_clock_that_is_set_counts_neither_within_an_invocation_nor_backwards() -> None:
    machine = Machine()
    clock = machine.clock()
    began = clock.monotonic()
    machine.wall += timedelta(hours=1)
    assert clock.monotonic() == began
    machine.wall -= timedelta(hours=3)
    clock.thawed()
    assert clock.monotonic() == began


def test_a_thread_that_goes_on_before_the_invocation_begins_erases_no_freeze() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.thawed()
    began = clock.monotonic()
    machine.runs(2)
    clock.ends()
    machine.is_frozen(MINUTE)
    clock.monotonic()  # a worker of the invocation before wakes up first
    clock.thawed()
    assert clock.monotonic() - began == MINUTE + timedelta(seconds=2)


def test_a_wall_clock_that_is_set_within_an_invocation_is_no_freeze() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.thawed()
    began = clock.monotonic()
    machine.wall += timedelta(hours=1)
    clock.ends()
    machine.is_frozen(MINUTE)
    clock.thawed()
    assert clock.monotonic() - began == MINUTE


def test_each_invocation_of_a_deployment_counts_what_its_process_missed() -> None:
    machine = Machine()
    deployment = Deployment(function="tracker", environment=an_environment())
    deployment.clock = machine.clock()
    began = deployment.clock.monotonic()
    machine.is_frozen(MINUTE)
    with suppress(RuntimeError), deployment.invocation(timedelta(seconds=60)):
        assert deployment.clock.monotonic() - began == MINUTE
        machine.wall += timedelta(hours=1)  # somebody sets the clock
        raise RuntimeError("an invocation that fails ends, too")
    machine.is_frozen(MINUTE)
    deployment.clock.monotonic()
    with deployment.invocation(timedelta(seconds=60)):
        assert deployment.clock.monotonic() - began == 2 * MINUTE


def test_an_invocation_that_is_late_has_no_time_left_and_never_less() -> None:
    machine = Machine()
    deadline = InvocationDeadline(machine.clock())
    deadline.begin(MINUTE)
    machine.runs(59)
    assert deadline.left() == timedelta(seconds=1)
    machine.runs(2)
    assert deadline.left() == timedelta()
