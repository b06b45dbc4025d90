"""The main job against a Buildkite that is as its first specification describes it: no pages, no job tokens."""

import time

import pytest

from tests.simulator.buildkite import Dialect, Settings, Step
from tests.simulator.demo.judgement import settled, unsettled
from tests.simulator.world import Plan, World

pytestmark = [pytest.mark.e2e, pytest.mark.share(3, "whole stacks")]

PATIENCE_SECONDS = 40.0


def test_jobs_run_with_the_agent_token_and_what_fits_nowhere_is_told_so() -> None:
    plan = Plan(
        parameters={"AgentCredential": "agent-token"},
        buildkite=Settings(dialects=frozenset({Dialect.PREVIEW})),
    )
    with World(plan) as world:
        world.start()
        build = world.buildkite.create_build(
            steps=[
                Step(key="hello", command="echo hello"),
                Step(key="nowhere", agents=["class=none"]),
                Step(key="failing", command="exit 3"),
            ]
        )
        retry_until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < retry_until and not settled(world):
            time.sleep(0.2)
        assert list(unsettled(world)) == []
        ends = {key: world.buildkite.job(build.job_id(key)) for key in ("hello", "nowhere", "failing")}
        assert {key: (job.exit_status, job.agent_id is not None) for key, job in ends.items()} == {
            "hello": (0, True),
            "nowhere": (-1, False),
            "failing": (3, True),
        }
        assert "Would match: class=default" in (ends["nowhere"].end_detail or "")
        assert [violation.rule for violation in world.buildkite.violations()] == []
        held = world.dynamodb.scan(TableName=world.deployed.mailbox_table)["Items"]
        assert not [item for item in held if world.buildkite.agent_token in repr(item)]
    assert world.processes_left() == []
