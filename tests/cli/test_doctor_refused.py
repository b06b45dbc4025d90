"""What `doctor` finds of what only real requests meet: a closed Fleet API, a key that is taken, a misspelt queue."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.cli.faults import HEALTHY, findings, healthy_world
from tests.cli.served import Served
from tests.simulator.buildkite import Operation, Step
from tests.simulator.cloud.refusals import Refusal

pytestmark = pytest.mark.share(6)

PATIENCE_SECONDS = 60


def until(served: Served, holds: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    retry_until, found = time.monotonic() + PATIENCE_SECONDS, list[dict[str, Any]]()
    while time.monotonic() < retry_until:
        found = findings(served)
        if holds(found):
            return found
        time.sleep(1)
    raise AssertionError(found)


def test_a_closed_fleet_api_which_lets_dry_runs_pass_is_found_with_whom_to_ask() -> None:
    def closed(found: list[dict[str, Any]]) -> bool:
        return any("MaxFleetCountExceeded" in f["problem"] and f["check"] == "class default" for f in found)

    with healthy_world(HEALTHY) as served:
        served.world.ec2.faults.refuse(Refusal(code="MaxFleetCountExceeded", where="request"))
        assert not [f for f in findings(served) if f["check"].startswith("class ")]  # no dry run shows it
        served.world.buildkite.create_build("app", steps=[Step(command="true")])
        (one,) = [f for f in until(served, closed) if f["check"] == "class default"]
        assert one["severity"] == "error"
        assert one["effect"].startswith("Jobs of the class wait")
        assert "Ask AWS Support to enable EC2 Fleet" in one["remedy"]


def test_a_stack_key_that_is_taken_is_found_with_another_to_choose() -> None:
    def said(found: list[dict[str, Any]]) -> bool:
        return any("stack_not_registered" in f["problem"] for f in found)

    def taken(world: Any) -> None:  # noqa: ANN401  (the served world)
        world.buildkite.faults.fail(
            Operation.REGISTER_STACK, status=422, message="Key has already been taken", times=10_000
        )

    with healthy_world(HEALTHY, before=taken) as served:
        found = until(served, said)
        (logged,) = [f for f in found if "stack_not_registered" in f["problem"]]
        assert "Key has already been taken" in logged["problem"]
        assert (logged["severity"], logged["effect"]) == (
            "error",
            "Buildkite did not take the stack key of a queue: no job of it gets a VM.",
        )
        assert "choose another StackKey when this one is taken" in logged["remedy"]
        (seen,) = [f for f in found if f["check"] == "queue default"]
        assert seen["problem"].startswith("Buildkite does not know this queue, or its stack key")
        assert (seen["severity"], "another stack has this StackKey" in seen["remedy"]) == ("error", True)


def test_a_misspelt_queue_beside_a_right_one_is_found_and_not_registered() -> None:
    plan = replace(HEALTHY, parameters={**HEALTHY.parameters, "Queues": "default,linux.arm"})
    with healthy_world(plan) as served:
        found = {f["check"]: f for f in findings(served)}
        assert "queue default" not in found
        misspelt = found["queue linux.arm"]
        assert (misspelt["severity"], misspelt["effect"]) == ("error", "No job of queue linux.arm gets a VM.")
        assert "the key in Queues is misspelt" in misspelt["remedy"]
