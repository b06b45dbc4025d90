"""What an idle dispatcher asks the ledger, and that it misses nothing for asking so seldom."""

from collections import Counter
from datetime import timedelta

from agent_stack.stages.quiet import LASTS, Quiet
from agent_stack.stages.shift import LEASE
from tests.simulator.buildkite import JobState, Step
from tests.simulator.clock import EPOCH
from tests.simulator.universe.process import Fate
from tests.simulator.universe.universe import QUICK, Nature, Universe, plain_ec2

SECOND = timedelta(seconds=1)


def world() -> Universe:
    universe = Universe(
        seed=1,
        nature=Nature(ec2=plain_ec2(), only=("dispatcher",)),
        settings={**QUICK, "IDLE_POLL_SECONDS": "2", "RESERVATION_SECONDS": "600", "LAUNCH_DEADLINE_SECONDS": "600"},
    )
    universe.run(61)  # a hand-over, too
    return universe


def calls(universe: Universe) -> Counter[str]:
    return Counter(point.removeprefix("dispatcher ") for point in universe.points)


def test_an_idle_minute_asks_the_ledger_next_to_nothing() -> None:
    universe = world()
    before = calls(universe)
    universe.run(60)
    asked = calls(universe) - before
    assert asked["stacks.list_scheduled"] >= 25
    assert asked["ledger.active_runs"] == asked["ledger.open_intents"] <= 3
    assert asked["lease.renew"] <= 60 / 4 + 1
    assert asked["ledger.launch_memory"] == 0
    assert not [point for point in asked if point.startswith("fleet.")]


def test_a_job_ends_the_quiet_at_once() -> None:
    universe = world()
    before = calls(universe)["ledger.active_runs"]
    universe.buildkite.create_build(steps=[Step()])
    universe.run(10)
    (job,) = universe.buildkite.jobs()
    assert job.state is JobState.RESERVED
    assert universe.store.boxes
    assert calls(universe)["ledger.active_runs"] - before >= 3  # every tick while there is work


def test_what_an_overtaken_dispatcher_recorded_still_is_found_before_long() -> None:
    """Its write takes effect when another holds the lease already, and has seen that nothing is there."""
    universe = world()
    universe.judge = lambda point: Fate.DIES_AFTER if point == "dispatcher stacks.reserve" else Fate.GOES_ON
    universe.buildkite.create_build(steps=[Step()])
    while not universe.crashes:
        universe.run(1)
    ((job_id, late),) = universe.store.runs.items()
    del universe.store.runs[job_id]
    universe.judge = lambda _: Fate.GOES_ON
    universe.run(70)
    assert not universe.store.runs  # reserved with Buildkite, so no listing shows it
    universe.store.runs[job_id] = late
    universe.run(LASTS.total_seconds() + 10)
    assert universe.store.runs[job_id].binding is not None


def test_quiet_is_of_one_lease_and_does_not_last() -> None:
    quiet = Quiet()
    assert not quiet.holds(1, EPOCH)
    quiet.seen(1, EPOCH)
    assert quiet.holds(1, EPOCH + LASTS - SECOND)
    assert not quiet.holds(1, EPOCH + LASTS)
    assert not quiet.holds(2, EPOCH + SECOND)
    quiet.broken()
    assert not quiet.holds(1, EPOCH + SECOND)
    assert LASTS > LEASE  # else it would hardly ever hold
