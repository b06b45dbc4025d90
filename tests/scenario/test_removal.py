"""A stack is removed while its jobs run and its functions are at work: the real handlers, on loopback, in real time.

It takes half a minute, of which the removal itself waits 15 s for VMs that EC2 shows late (`LATE_VMS`), and the test
another shift's time: that nothing comes later is what it is about.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug import Request, Response

from tests.simulator.buildkite import JobState, Step
from tests.simulator.loopback import LoopbackServer
from tests.simulator.world import Plan, World

pytestmark = [pytest.mark.e2e, pytest.mark.share(3, "whole stacks")]

PATIENCE_SECONDS = 30
ANOTHER_SHIFT_SECONDS = 6.0
"""The schedules go on firing, every five seconds, which those of a real removal do not."""


@pytest.fixture
def world() -> Iterator[World]:
    with World(Plan()) as made:
        yield made
    assert made.processes_left() == []


def removed(world: World) -> dict[str, Any]:
    """Ask the tracker for its part in the removal; what CloudFormation was answered."""
    answers: list[dict[str, Any]] = []

    def cloudformation(request: Request) -> Response:
        answers.append(json.loads(request.get_data()))
        return Response()

    with LoopbackServer(cloudformation, advance=lambda: None) as server:
        event = {
            "RequestType": "Delete",
            "ResponseURL": f"{server.origin}/answer",
            "StackId": "arn:aws:cloudformation:eu-central-1:123456789012:stack/demo/1",
            "RequestId": "1",
            "LogicalResourceId": "Registration",
            "PhysicalResourceId": "agent-stack-keys",
        }
        completed = world.hosts["tracker"].invoke(event)
    assert completed.error is None
    (answer,) = answers
    return answer


def test_nothing_lives_and_nothing_is_launched_once_cloudformation_is_answered(world: World) -> None:
    build = world.buildkite.create_build("long", steps=[Step(label="Runs for long", command="sleep 600")] * 2)
    world.start()
    retry_until = time.monotonic() + PATIENCE_SECONDS
    while any(world.buildkite.job(job_id).state is not JobState.RUNNING for job_id in build.job_ids):
        assert time.monotonic() < retry_until, "the jobs never ran"
        time.sleep(0.2)

    answer = removed(world)

    assert (answer["Status"], answer["Reason"]) == ("SUCCESS", "")
    assert {instance.state for instance in world.ec2.instances()} == {"terminated"}
    assert world.buildkite.stacks() == ()
    world.buildkite.create_build("late", steps=[Step(label="Comes too late", command="true")])
    time.sleep(ANOTHER_SHIFT_SECONDS)
    assert len(world.ec2.instances()) == len(build.job_ids)
