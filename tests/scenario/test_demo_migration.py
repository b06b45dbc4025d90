"""A realistic Elastic CI Stack, migrated and deployed to the demo's world, runs a pipeline. At night, because its VMs
cost a minute of CPU."""

import queue
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from agent_stack.adapters.ec2.requests import CLASS_TAG
from tests.cli.migrations import EXAMPLE
from tests.simulator.buildkite import JobView, StepKind
from tests.simulator.cloud import Instance
from tests.simulator.demo.__main__ import add_queues
from tests.simulator.demo.judgement import problems, standing_by
from tests.simulator.demo.play import Play
from tests.simulator.demo.prepared import prepared
from tests.simulator.demo.watch import watch
from tests.simulator.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.night]

PIPELINE = EXAMPLE.with_name("pipeline.yml")
NONE = Namespace(pipeline=None, classes=None, parameters=None, migrate=None, broken=None, pretend=False)


def arguments(*, migrate: Path, pipeline: Path) -> Namespace:
    return Namespace(**{**vars(NONE), "migrate": migrate, "pipeline": pipeline})


def test_a_migrated_stack_runs_a_pipeline_with_two_queues_and_two_classes() -> None:
    demo = prepared(arguments(migrate=EXAMPLE, pipeline=PIPELINE))
    patient = {**demo.plan.parameters, "LaunchDeadlineSeconds": "120"}  # the demo's 20 s are for an idle machine
    with World(replace(demo.plan, parameters=patient)) as world:
        add_queues(world, demo.queues)
        world.start()
        play = Play(buildkite=world.buildkite, steps=demo.pipeline.steps, env=demo.pipeline.env)
        play.begin()
        watch(world, play, queue.Queue())
        assert problems(world, play.expected, strangers=standing_by(world)) == []
        assert {stack.queue_key for stack in world.buildkite.stacks()} == {"linux", "linux-next"}
        vms = {job.label: _vm(world, job) for job in world.buildkite.jobs() if job.kind is StepKind.COMMAND}
        for vm in vms.values():
            assert vm.instance_type in {"m7i.xlarge", "m7a.xlarge", "m6i.xlarge"}
            assert "stands for the bootstrap script" in world.machines.vm(vm.instance_id).console()
        assert vms["Deploy"].capacity_type == "on-demand"
        assert {vm.capacity_type for vm in world.ec2.instances() if vm.tags[CLASS_TAG] == "default"} == {
            "spot",
            "on-demand",
        }, "a quarter of them should be on-demand"
        assert world.deployed.environments["dispatcher"]["MAX_INSTANCES"] == "40"
        assert len(standing_by(world)) == 1
    assert world.processes_left() == []


def _vm(world: World, job: JobView) -> Instance:
    """The VM that a finished job ran on."""
    return world.vms_of(job.id)[-1]
