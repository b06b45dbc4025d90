"""What an idle dispatcher asks the ledger, and that it misses nothing for asking so seldom."""

from collections import Counter
from datetime import timedelta
from itertools import pairwise

import pytest

from agent_stack.dispatcher.empty_ledger import MAX_AGE, EmptyLedgerCache
from agent_stack.lease_loop import LEASE
from tests.simulator.buildkite import JobState, Step
from tests.simulator.clock import EPOCH
from tests.simulator.simulation.nature import QUICK, Nature, plain_ec2
from tests.simulator.simulation.process import Fate
from tests.simulator.simulation.simulation import Simulation

SECOND = timedelta(seconds=1)
LONG = {"RESERVATION_SECONDS": "600", "LAUNCH_DEADLINE_SECONDS": "600"}


def world(**settings: str) -> Simulation:
    simulation = Simulation(
        seed=1,
        nature=Nature(ec2=plain_ec2(), only=("dispatcher",)),
        settings={**QUICK, "IDLE_POLL_SECONDS": "2", **LONG, **settings},
    )
    simulation.run(61)  # a hand-over, too
    return simulation


def calls(simulation: Simulation) -> Counter[str]:
    return Counter(point.removeprefix("dispatcher ") for point in simulation.points)


def test_an_idle_minute_asks_the_ledger_next_to_nothing() -> None:
    simulation = world()
    before = calls(simulation)
    simulation.run(60)
    asked = calls(simulation) - before
    assert asked["stacks.list_scheduled"] >= 25
    assert asked["ledger.active_runs"] == asked["ledger.open_intents"] <= 3
    assert asked["lease.renew"] <= 60 / 4 + 1
    assert asked["ledger.launch_memory"] <= 1  # read ahead for the first launch, once under a lease
    assert asked["ledger.holds"] == 0
    of_ec2 = {point: count for point, count in asked.items() if point.startswith("fleet.")}
    assert of_ec2 == {"fleet.warm_up": 1}  # once in a process, and here each invocation has a new one


def test_a_job_ends_the_quiet_at_once() -> None:
    simulation = world()
    before = calls(simulation)["ledger.active_runs"]
    simulation.buildkite.create_build(steps=[Step()])
    simulation.run(10)
    (job,) = simulation.buildkite.jobs()
    assert job.state is JobState.RESERVED
    assert simulation.store.boxes
    assert calls(simulation)["ledger.active_runs"] - before >= 3  # every cycle while there is work


@pytest.mark.parametrize("hold", ["30", "0"])
def test_while_every_vm_has_its_job_nobody_asks_which_vms_are_held(hold: str) -> None:
    """Only VMs without a run may be held ones: neither a launch that is bound at once nor a cycle after it asks."""
    simulation = world(HOLD_ON_FAILURE_MINUTES=hold)
    simulation.run(10)  # else its process ends before EC2's answer, and the next one finds a VM without a run
    before = calls(simulation)
    for _ in range(3):
        simulation.buildkite.create_build(steps=[Step()])
        simulation.run(10)
    asked = calls(simulation) - before
    assert asked["ledger.bind"] == 3
    assert asked["ledger.active_runs"] >= 10
    assert asked["ledger.holds"] == 0


def test_what_an_overtaken_dispatcher_recorded_still_is_found_before_long() -> None:
    """Its write takes effect when another holds the lease already, and has seen that nothing is there."""
    simulation = world()
    simulation.judge = lambda point: Fate.DIES_AFTER if point == "dispatcher stacks.reserve" else Fate.GOES_ON
    simulation.buildkite.create_build(steps=[Step()])
    while not simulation.crashes:
        simulation.run(1)
    ((job_id, late),) = simulation.store.runs.items()
    del simulation.store.runs[job_id]
    simulation.judge = lambda _: Fate.GOES_ON
    simulation.run(70)
    assert not simulation.store.runs  # reserved with Buildkite, so no listing shows it
    simulation.store.runs[job_id] = late
    simulation.run(MAX_AGE.total_seconds() + 10)
    assert simulation.store.runs[job_id].binding is not None


@pytest.mark.parametrize("poll", [0.2, 0.5, 2, 5, 8, 30, 60])
def test_no_cycle_begins_under_a_lease_that_has_run_out_and_every_successor_takes_over(poll: float) -> None:
    simulation = Simulation(
        seed=1,
        nature=Nature(ec2=plain_ec2(), only=("dispatcher",), watched=False),
        settings={**QUICK, "IDLE_POLL_SECONDS": str(poll)},
    )
    simulation.run(120)
    seen = len(simulation.buildkite.access_log())
    simulation.run(1_200)
    looks = [r.at for r in simulation.buildkite.access_log()[seen:] if r.operation == "list_scheduled_jobs"]
    assert (simulation.unleased, simulation.overlaps) == (0, 0)
    assert max(after - before for before, after in pairwise(looks)) < timedelta(seconds=poll + 3)
    assert "lease_held_by_another" not in simulation.telemetry.messages()
    assert "lease_superseded" not in simulation.telemetry.messages()


def test_quiet_is_of_one_lease_and_does_not_last() -> None:
    quiet = EmptyLedgerCache()
    assert not quiet.is_valid(1, EPOCH)
    quiet.mark_empty(1, EPOCH)
    assert quiet.is_valid(1, EPOCH + MAX_AGE - SECOND)
    assert not quiet.is_valid(1, EPOCH + MAX_AGE)
    assert not quiet.is_valid(2, EPOCH + SECOND)
    quiet.invalidate()
    assert not quiet.is_valid(1, EPOCH + SECOND)
    assert MAX_AGE > LEASE  # else it would hardly ever hold
