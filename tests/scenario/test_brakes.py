"""What an operator's brakes stop, and what goes on all the same."""

from collections import Counter

import pytest

from tests.simulator.buildkite import JobState, Operation, Step
from tests.simulator.universe.universe import QUICK, Nature, Universe, plain_ec2


def world(**settings: str) -> Universe:
    universe = Universe(seed=1, nature=Nature(ec2=plain_ec2()), settings={**QUICK, **settings})
    universe.run(5)
    return universe


def listings(universe: Universe) -> int:
    return sum(call.operation == Operation.LIST_SCHEDULED_JOBS for call in universe.buildkite.access_log())


def states(universe: Universe) -> Counter[JobState]:
    return Counter(job.state for job in universe.buildkite.jobs())


@pytest.mark.parametrize(
    "brake", [{"LAUNCH_ENABLED": "false"}, {"OBSERVE_ONLY": "true"}], ids=lambda brake: next(iter(brake))
)
def test_nothing_starts_nothing_is_taken_and_the_queue_stays_connected(brake: dict[str, str]) -> None:
    universe = world(**brake)
    universe.buildkite.create_build(steps=[Step()] * 3)
    before = listings(universe)
    universe.run(120)
    assert states(universe) == {JobState.SCHEDULED: 3}
    assert not universe.ec2.instances()
    assert listings(universe) - before >= 20
    assert not universe.store.runs
    assert not universe.store.intents


def test_launches_disabled_let_what_runs_run_to_its_end() -> None:
    universe = world()
    universe.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": "60"})] * 2)
    universe.run(30)
    universe.settings = universe.settings.model_copy(update={"launch_enabled": False})
    universe.run(65)  # the invocation at work knows the old settings still
    universe.buildkite.create_build(steps=[Step()])
    universe.run(90)
    assert states(universe) == {JobState.FINISHED: 2, JobState.SCHEDULED: 1}
    assert len(universe.ec2.instances()) == 2
    assert not universe.store.runs


def test_observing_looks_at_everything_says_so_and_touches_nothing() -> None:
    universe = world()
    build = universe.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": "500"})] * 2)
    universe.run(30)
    universe.settings = universe.settings.model_copy(update={"observe_only": True})
    universe.run(65)
    runs, calls = dict(universe.store.runs), len(universe.points)
    universe.buildkite.cancel_job(build.job_ids[0])
    universe.run(120)
    assert universe.store.runs == runs
    assert "Client.UserInitiatedShutdown" not in {instance.reason for instance in universe.ec2.instances()}
    looks = {"active_runs", "open_intents", "launch_memory", "bound_instances", "read"}
    looks |= {"list_scheduled", "job_states", "register", "token_identity", "describe", "describe_only", "console"}
    touched = {point.rpartition(".")[2] for point in universe.points[calls:] if " lease." not in point} - looks
    assert touched == set()
    assert "run_decided" in universe.telemetry.messages()
