"""What becomes of jobs when Buildkite answers as the real one may, and as the simulated one did not before.

What is marked as failing is known and not fixed yet.
"""

import re
from datetime import timedelta
from itertools import pairwise

import pytest

from agent_stack.domain.measures import Metric
from agent_stack.domain.states import Moment
from tests.bench.refusals import DEPLOYED_SECONDS
from tests.simulator.buildkite import JobState, Step
from tests.simulator.buildkite import Settings as BuildkiteSettings
from tests.simulator.cloud import StateChange
from tests.simulator.simulation.nature import QUICK, Nature, plain_ec2
from tests.simulator.simulation.simulation import Simulation

pytestmark = pytest.mark.share(2)

HELD = timedelta(minutes=45)


def world(buildkite: BuildkiteSettings | None = None, *, seed: int = 1, **settings: str) -> Simulation:
    """A stack that was deployed a while ago. Its schedules fire anywhere in their minute."""
    nature = Nature(ec2=plain_ec2(), buildkite=buildkite or BuildkiteSettings())
    simulation = Simulation(seed=seed, nature=nature, settings={**QUICK, **settings})
    simulation.run(DEPLOYED_SECONDS)
    return simulation


@pytest.mark.parametrize("shown", [True, False])
def test_a_job_behind_a_wait_step_has_waited_since_it_became_runnable(shown: bool) -> None:  # noqa: FBT001  (with and without the listing's own word)
    simulation = world(BuildkiteSettings(shows_runnable_at=shown))
    simulation.send_hints()  # as deployed: EC2's events wake the tracker, which measures when an agent has the job
    (job_id,) = simulation.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": "25"}, runnable_after=HELD)]).job_ids
    simulation.run(HELD.total_seconds() + 90)
    assert simulation.buildkite.job(job_id).state is JobState.FINISHED
    waits = [value for metric, _, value in simulation.telemetry.measured if metric is Metric.WAIT_SECONDS]
    assert waits
    assert max(waits) < 60
    assert simulation.telemetry.peaks[Metric.OLDEST_WAITING_SECONDS] < 60
    (started,) = [n.detail for n in simulation.buildkite.job(job_id).notifications if "became runnable" in n.detail]
    assert re.search(r" \d+ s after the job became runnable", started)
    (run,) = simulation.store.history
    assert run.timeline[Moment.SCHEDULED] == run.waits_since - HELD or not shown


def test_an_urgent_job_behind_thousands_starts_with_the_next_free_vm() -> None:
    simulation = world(MAX_INSTANCES="5", MAX_LAUNCHES_PER_MINUTE="500")
    simulation.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": "40"})] * 1_400)
    simulation.run(60)
    (urgent,) = simulation.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": "1"}, priority=10)]).job_ids
    asked = simulation.kernel.now()
    simulation.run(150)
    begun = simulation.buildkite.job(urgent).entered(JobState.RESERVED)
    assert begun is not None
    later = [
        job
        for job in simulation.buildkite.jobs()
        if job.id != urgent and (at := job.entered(JobState.RESERVED)) is not None and asked < at < begun
    ]
    assert len(later) <= 1, "only what was admitted already goes before it"
    assert not simulation.buildkite.violations()


def test_jobs_that_are_cancelled_between_launch_and_bind_leave_no_vm_for_long_and_ring_no_alarm() -> None:
    simulation = world(MAX_INSTANCES="40")
    build = simulation.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": "600"})] * 30)
    unbound: list[int] = []

    def cancel(_: StateChange) -> None:
        """At the moment at which EC2 has launched the last one, whatever the dispatcher does in it."""
        if not unbound and len(simulation.ec2.instances()) >= 30:
            unbound.append(sum(run.binding is None for run in simulation.store.runs.values()))
            for job_id in build.job_ids:
                simulation.buildkite.cancel_job(job_id)

    simulation.ec2.on_event(cancel)
    while not unbound:
        simulation.run(0.1)
    assert unbound[0] > 10
    simulation.run(60)
    assert {instance.state for instance in simulation.ec2.instances()} <= {"terminated", "shutting-down"}
    said = simulation.telemetry.messages("ERROR") + simulation.telemetry.messages("WARNING")
    assert not {"orphan_cleanup_limited", "orphan_terminated"} & set(said)


def test_a_job_that_no_class_fits_is_told_once_what_would_match() -> None:
    simulation = world(UNMATCHED_JOBS="auto")
    job_ids = simulation.buildkite.create_build(steps=[Step(agents=["class=sopt"]), Step(agents=["class=*"])]).job_ids
    simulation.run(240)
    unmatched, matched = (simulation.buildkite.job(job_id) for job_id in job_ids)
    (told,) = unmatched.notifications
    assert "class “sopt”" in told.detail
    assert "class=spot" in told.detail
    assert unmatched.state is JobState.SCHEDULED
    assert matched.entered(JobState.RUNNING) is not None
    assert simulation.telemetry.peaks[Metric.JOBS_UNMATCHED] == 1


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.FINISHED])
@pytest.mark.parametrize("seed", range(4))
def test_a_job_starts_within_three_minutes_of_the_deletion_of_builds_that_hold_all_places(
    seed: int, state: JobState
) -> None:
    """Buildkite never says that their jobs are over, because it knows no state of a job of a deleted build."""
    simulation = world(seed=seed, MAX_INSTANCES="2")
    left = [simulation.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": "9"})]) for _ in range(2)]
    deleted_at = simulation.kernel.now()
    while left:
        simulation.run(0.1)
        for build in [one for one in left if simulation.buildkite.job(one.job_ids[0]).state is state]:
            simulation.buildkite.delete_build(build.id)
            deleted_at = simulation.kernel.now()
            left.remove(build)
    assert len(simulation.store.runs) == 2, "no tracker saw a job end"
    (third,) = simulation.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": "1"})]).job_ids
    simulation.run(180)
    started_at = simulation.buildkite.job(third).entered(JobState.RUNNING)
    assert started_at is not None
    assert started_at - deleted_at <= timedelta(minutes=3)


def test_a_pipeline_ends_on_a_buildkite_that_is_as_hard_as_may_be() -> None:
    simulation = world(BuildkiteSettings.harsh())
    (job_id,) = simulation.buildkite.create_build(steps=[Step(env={"SIM_SECONDS": "1"})]).job_ids
    simulation.run(60)
    assert simulation.buildkite.job(job_id).exit_status == 0


def test_a_queue_is_looked_at_every_few_seconds_wherever_in_its_minute_a_schedule_fires() -> None:
    nature = Nature(ec2=plain_ec2(), only=("dispatcher",), watched=False)
    simulation = Simulation(seed=1, nature=nature, settings={**QUICK, "IDLE_POLL_SECONDS": "2"})
    simulation.run(120)
    seen = len(simulation.buildkite.access_log())
    simulation.run(1_200)
    looks = [r.at for r in simulation.buildkite.access_log()[seen:] if r.operation == "list_scheduled_jobs"]
    assert max(after - before for before, after in pairwise(looks)) < timedelta(seconds=5)
