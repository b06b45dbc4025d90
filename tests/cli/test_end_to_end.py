"""The operator's command in front of a stack that runs: the demo's world, in real time."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cli.conftest import operators
from tests.cli.served import Served
from tests.simulator.buildkite import JobState, Step
from tests.simulator.world import NAME, Plan, World

pytestmark = [pytest.mark.e2e, pytest.mark.share(3, "whole stacks")]

PATIENCE_SECONDS = 60
PLAN = Plan(operators=operators())


@pytest.fixture
def running() -> Iterator[Served]:
    """A stack whose functions run and log to CloudWatch."""
    waiting: list[tuple[str, str]] = []
    with World(PLAN, on_line=lambda function, line: waiting.append((function, line))) as world:
        served = Served(world)
        served.lines = waiting
        world.start()
        yield served


def until(look: Callable[[], Any], what: str) -> Any:  # noqa: ANN401  (whatever `look` finds)
    retry_until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < retry_until:
        if found := look():
            return found
        time.sleep(0.3)
    raise AssertionError(f"never: {what}")


def test_a_job_from_its_pause_to_its_cost(running: Served) -> None:
    buildkite = running.world.buildkite
    running.ok("pause", "--reason", "trying it")
    build = buildkite.create_build("app", steps=[Step(command="sleep 5")])
    (job_id,) = build.job_ids
    until(lambda: buildkite.job(job_id).notifications, "the build page says why it waits")
    waits = running.data("job", job_id)["waits"]
    assert waits == buildkite.job(job_id).notifications[-1].detail
    assert "trying it" in waits
    assert running.data("status")["vms"] == []

    running.ok("resume")
    until(lambda: buildkite.job(job_id).state is JobState.FINISHED, "the job runs")
    until(lambda: running.data("job", job_id)["runs"][-1]["state"] == "ended", "its run ends")
    running.deliver()
    story = running.data("job", job_id)
    steps = [step["step"] for step in story["runs"][-1]["timeline"]]
    assert steps[0] == "the job was scheduled at Buildkite"
    assert "the agent had the job" in steps
    assert "job_bound" in [line["message"] for line in story["decisions"]]
    assert story["runs"][-1]["pipeline"] == "app"
    (cost,) = running.data("cost", "--by", "pipeline")["groups"]
    assert (cost["group"], cost["jobs"]) == ("app", 1)
    assert cost["usd"] > 0
    assert running.data("stacks") == [NAME]
