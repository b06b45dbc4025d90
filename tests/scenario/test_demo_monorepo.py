"""A pipeline of thirty steps in the demo, in real time: at night, because its VMs cost a minute of CPU."""

import queue
from pathlib import Path

import pytest

from tests.simulator.demo.judgement import problems, standing_by
from tests.simulator.demo.pipeline import read_pipeline
from tests.simulator.demo.play import Play
from tests.simulator.demo.prepared import CLASSES, SCHEDULE_SECONDS
from tests.simulator.demo.snapshot import standing
from tests.simulator.demo.watch import watch
from tests.simulator.world import Plan, World

pytestmark = [pytest.mark.e2e, pytest.mark.night]

PIPELINE = Path(__file__).resolve().parents[2] / "scripts" / "demo-monorepo.yml"


def test_it_passes_with_a_retry_a_soft_failure_a_block_and_a_vm_for_each_job() -> None:
    pipeline = read_pipeline(PIPELINE)
    with World(Plan(classes=CLASSES, schedule_seconds=SCHEDULE_SECONDS)) as world:
        world.start()
        play = Play(buildkite=world.buildkite, steps=pipeline.steps, env=pipeline.env)
        play.begin()
        watch(world, play, queue.Queue())
        assert problems(world, play.expected, strangers=standing_by(world)) == []
        jobs = world.buildkite.jobs()
        kinds = [standing(job, None)[0] for job in jobs]
        assert (kinds.count("retried"), kinds.count("soft"), kinds.count("skipped")) == (1, 1, 1)
        assert {"passed", "retried", "soft", "skipped"} == set(kinds)
        assert len({vm.instance_id for job in jobs for vm in world.vms_of(job.id)}) >= 32
    assert world.processes_left() == []
