"""The main job, end to end, by what came of it: the whole stack on loopback, in real time.

scripts/without-each-stage --real-time runs this against copies of the functions that lack one stage, and expects it to
fail.
"""

import json
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from agent_stack.adapters.ec2.requests import DEPLOYMENT_TAG
from tests.simulator.buildkite import JobState, Step
from tests.simulator.demo.judgement import problems, settled
from tests.simulator.demo.pipeline import Cancel, Demo, read_pipeline
from tests.simulator.demo.prepared import PIPELINE
from tests.simulator.world import FUNCTIONS, NAME, Plan, World, log_record

pytestmark = [pytest.mark.e2e, pytest.mark.share(3, "whole stacks")]

PATIENCE_SECONDS = float(os.environ.get("AGENT_STACK_PATIENCE_SECONDS", "45"))
STUCK_SECONDS = 10.0
"""Longer than anything takes here while no VM comes or goes: the jobs' commands, and the graces after them."""

SLOW_TYPE = "t3.nano"
CLASSES = json.dumps(
    {
        "classes": {
            "default": {"instance_types": ["m7i.large"], "image": "ami-0123456789abcdef0"},
            "slow": {"instance_types": [SLOW_TYPE], "image": "ami-0123456789abcdef0"},
        },
        "default_class": "default",
    }
)


@pytest.fixture
def lines() -> list[str]:
    """What the functions logged."""
    return []


@pytest.fixture
def world(lines: list[str]) -> Iterator[World]:
    """Reservations are so short that a slow boot outlives one."""
    plan = Plan(
        parameters={
            "ReadJobEnvironment": "true",
            "ReservationSeconds": "14",
            "SweepGraceSeconds": "8",
        },
        classes=CLASSES,
        pending_of={SLOW_TYPE: timedelta(seconds=17)},
        functions=Path(os.environ.get("AGENT_STACK_FUNCTIONS", FUNCTIONS)),
    )
    with World(plan, on_line=lambda _, line: lines.append(line)) as made:
        yield made
    assert made.processes_left() == []


def told_of(lines: list[str], message: str) -> set[str]:
    """The VMs of which the functions logged that."""
    records = [record for line in lines if (record := log_record(line)) is not None]
    return {str(record["instance_id"]) for record in records if record.get("message") == message}


def register_as_an_older_version(world: World) -> None:
    """What a deployment before this one left with Buildkite."""
    stack = {"key": f"{NAME}-default", "type": "custom", "queue_key": "default", "metadata": {"version": "0.0.0"}}
    token = {"Authorization": f"Token {world.buildkite.agent_token}"}
    httpx.post(f"{world.buildkite_url}/stacks/register", json=stack, headers=token).raise_for_status()


def seen_of(world: World) -> object:
    """What a person who looks on would see change."""
    jobs = tuple((job.id, job.state, job.agent_id, len(job.notifications)) for job in world.buildkite.jobs())
    return jobs, tuple((i.instance_id, i.state) for i in world.ec2.instances()), frozenset(world.assignments())


MOVING = frozenset({"pending", "shutting-down"})


def until_settled(world: World, demos: dict[str, Demo], dying: str, strangers: frozenset[str]) -> None:
    """Press Cancel where it is due, take one job's first VM away, and wait until nothing happens any more."""
    to_cancel = {job_id: demo.cancel for job_id, demo in demos.items() if demo.cancel is not None}
    to_lose = {dying}
    retry_until = time.monotonic() + PATIENCE_SECONDS
    seen, since = seen_of(world), time.monotonic()
    while time.monotonic() < retry_until and (to_cancel or to_lose or not settled(world, strangers=strangers)):
        if (now := seen_of(world)) != seen or any(i.state in MOVING for i in world.ec2.instances()):
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > STUCK_SECONDS:
            return  # and what is wrong will be found
        bound = set(world.assignments().values())
        for job_id, when in tuple(to_cancel.items()):
            running = world.buildkite.job(job_id).state is JobState.RUNNING
            if (when is Cancel.BOOTING and job_id in bound) or (when is Cancel.RUNNING and running):
                world.buildkite.cancel_job(job_id)
                del to_cancel[job_id]
        for job_id in to_lose & bound:
            world.ec2.lose_host(world.vms_of(job_id)[0].instance_id)
            to_lose = set()
        time.sleep(0.2)


def test_every_job_ends_as_it_should_and_nothing_is_left(world: World, lines: list[str]) -> None:
    # `scripts/demo` waits for what takes longer: a job that no class fits is told late, and a VM has to stand by first.
    steps = [
        step for step in read_pipeline(PIPELINE).steps if step.demo.expect != "unmatched" and not step.demo.standby
    ]
    build = world.buildkite.create_build(
        "demo",
        steps=[
            *(step.step for step in steps),
            Step(label="Boots slowly", command="true", env={"AGENT_STACK_EC2_CLASS": "slow"}),
            Step(label="Loses its VM while that boots", command="true"),
        ],
    )
    *_, slow, dying = build.job_ids
    demos = {job_id: step.demo for job_id, step in zip(build.job_ids, steps, strict=False)}
    (subnet, *_) = world.deployed.environments["tracker"]["SUBNET_IDS"].split(",")
    orphan = world.ec2.launch_orphan(
        tags={DEPLOYMENT_TAG: NAME}, subnet_id=subnet, user_data=b"#!/bin/sh\nexec sleep 600\n"
    )
    stranger = world.ec2.launch_orphan(
        tags={DEPLOYMENT_TAG: "another"}, subnet_id=subnet, user_data=b"#!/bin/sh\nexec sleep 600\n"
    )
    register_as_an_older_version(world)
    world.start()

    strangers = frozenset({stranger.instance_id})
    until_settled(world, demos, dying, strangers)

    found = problems(world, demos, strangers=strangers)
    assert not found, "; ".join(found)
    assert [len(world.vms_of(job_id)) for job_id in (slow, dying)] == [1, 2]
    assert [stack.metadata.get("deployment") for stack in world.buildkite.stacks()] == [NAME]
    assert [vm.instance_type for vm in world.vms_of(slow)] == [SLOW_TYPE]
    ends = {instance.instance_id: (instance.state, instance.reason) for instance in world.ec2.instances()}
    assert ends[orphan.instance_id] == ("terminated", "Client.UserInitiatedShutdown")
    assert ends[stranger.instance_id] == ("running", "")
    assert told_of(lines, "orphan_terminated") == {orphan.instance_id}, "a job's VM was left for the sweep to find"
    assert len(world.ledger_items("history")) == len(build.job_ids)
