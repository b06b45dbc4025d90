"""What becomes of jobs when Buildkite answers as the real one may, and as the simulated one did not before.

What is marked as failing are faults that are known and not fixed yet.
"""

from datetime import timedelta
from itertools import pairwise

import pytest

from agent_stack.domain.measures import Metric
from tests.simulator.buildkite import JobState, Step
from tests.simulator.buildkite import Settings as BuildkiteSettings
from tests.simulator.lambda_host import PUNCTUAL
from tests.simulator.simulation.simulation import QUICK, Nature, Simulation, plain_ec2

HELD = timedelta(minutes=5)


def world(buildkite: BuildkiteSettings | None = None, **settings: str) -> Simulation:
    nature = Nature(ec2=plain_ec2(), jitter_seconds=PUNCTUAL, buildkite=buildkite or BuildkiteSettings())
    simulation = Simulation(seed=1, nature=nature, settings={**QUICK, **settings})
    simulation.run(52)  # the tracker's next look is near: it went home, for nothing lives
    return simulation


@pytest.mark.parametrize("shown", [True, False])
def test_a_job_behind_a_wait_step_has_waited_since_it_became_runnable(shown: bool) -> None:  # noqa: FBT001  (with and without the listing's own word)
    simulation = world(BuildkiteSettings(shows_runnable_at=shown))
    (job_id,) = simulation.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": "1"}, runnable_after=HELD)]).job_ids
    simulation.run(HELD.total_seconds() + 60)
    assert simulation.buildkite.job(job_id).state is JobState.FINISHED
    waits = [value for metric, _, value in simulation.telemetry.measured if metric is Metric.WAIT_SECONDS]
    assert waits
    assert max(waits) < 60


def test_runs_of_a_deleted_build_free_their_places_within_minutes() -> None:
    simulation = world(MAX_INSTANCES="2")
    build = simulation.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": "20"})] * 2)
    for _ in range(60):
        simulation.run(1)
        if all(simulation.buildkite.job(job_id).state is JobState.RUNNING for job_id in build.job_ids):
            break
    simulation.buildkite.delete_build(build.id)
    simulation.run(60)
    (third,) = simulation.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": "1"})]).job_ids
    simulation.run(180)
    assert simulation.buildkite.job(third).entered(JobState.RUNNING) is not None


def test_a_pipeline_ends_on_a_buildkite_that_is_as_hard_as_may_be() -> None:
    simulation = world(BuildkiteSettings.harsh())
    (job_id,) = simulation.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": "1"})]).job_ids
    simulation.run(60)
    assert simulation.buildkite.job(job_id).exit_status == 0


@pytest.mark.xfail(strict=True, reason="issue 19.7: the gap between two invocations is as long as the jitter")
def test_a_queue_is_looked_at_every_few_seconds_wherever_in_its_minute_a_schedule_fires() -> None:
    nature = Nature(ec2=plain_ec2(), only=("dispatcher",), watched=False)
    simulation = Simulation(seed=1, nature=nature, settings={**QUICK, "IDLE_POLL_SECONDS": "2"})
    simulation.run(120)
    seen = len(simulation.buildkite.access_log())
    simulation.run(1_200)
    looks = [r.at for r in simulation.buildkite.access_log()[seen:] if r.operation == "list_scheduled_jobs"]
    assert max(after - before for before, after in pairwise(looks)) < timedelta(seconds=5)
