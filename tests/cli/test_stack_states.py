"""What each state of a stack means, held to what CloudFormation and its waiters say."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.waiter import SingleWaiterConfig

from agent_stack_cli.stack_states import STATES, of

CLIENT: Any = boto3.client("cloudformation", region_name="eu-central-1")
ALL = CLIENT.meta.service_model.shape_for("StackStatus").enum
PROGRAM = Path(of.__code__.co_filename)


def waiters() -> Iterator[tuple[str, SingleWaiterConfig]]:
    known = CLIENT._get_waiter_config()["waiters"]
    for status, state in STATES.items():
        if state.then[:1] == ("wait",):
            name = "".join(part.title() for part in state.then[1].split("-"))
            yield status, SingleWaiterConfig(known[name])


def ends(waiter: SingleWaiterConfig, status: str) -> str:
    """The waiter's word on that state: success, failure, or that it goes on."""
    answer = {"Stacks": [{"StackStatus": status}]}
    return next((one.state for one in waiter.acceptors if one.matcher_func(answer)), "retry")


def test_every_state_that_is_known_exists_and_every_one_that_is_not_well_is_known() -> None:
    assert set(STATES) <= set(ALL)
    assert {status for status in ALL if not status.endswith("_COMPLETE")} <= set(STATES)


@pytest.mark.parametrize(("status", "waiter"), list(waiters()), ids=[status for status, _ in waiters()])
def test_a_waiter_that_is_named_waits_in_that_state_and_may_succeed(status: str, waiter: SingleWaiterConfig) -> None:
    assert ends(waiter, status) == "retry"
    action = status.removesuffix("_IN_PROGRESS").removesuffix("_CLEANUP")
    end = action if action.endswith("_COMPLETE") else f"{action}_COMPLETE"
    assert ends(waiter, end) == "success"


def test_cloudformation_takes_a_deployment_in_these_states_only() -> None:
    """Source: "Stack status codes" of the CloudFormation user guide; the first two are left by --disable-rollback."""
    assert {status for status in ALL if of(status).deploys} == {
        "CREATE_FAILED", "UPDATE_FAILED", "CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE",
        "IMPORT_COMPLETE", "IMPORT_ROLLBACK_COMPLETE",
    }  # fmt: skip


@pytest.mark.parametrize("status", ["ROLLBACK_FAILED", "UPDATE_FAILED", "CREATE_COMPLETE", "REFACTOR_IN_PROGRESS"])
def test_the_program_says_what_is_in_the_way_and_what_to_run(status: str) -> None:
    state, command = of(status), [sys.executable, "-I", str(PROGRAM), "ci", status, "eu-central-1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == (0 if state.deploys else 1)
    assert (status in done.stderr) == (not state.deploys)
    assert ("Next: aws cloudformation" in done.stderr) == (not state.deploys)
    assert ("may repair it" in done.stdout) == (state.deploys and bool(state.then))
