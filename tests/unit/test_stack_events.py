"""What CloudFormation is answered when the stack is made, changed or removed."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from agent_stack.adapters.cloudformation import answer_stack_event
from agent_stack.domain.identifiers import StackKey
from agent_stack.domain.jobs import Queue
from agent_stack.stages.withdraw import Withdraw
from tests.contract.stacks import OTHER, QUEUE, a_desk
from tests.simulator.buildkite import Operation
from tests.simulator.telemetry import RecordedTelemetry

QUEUES = (
    Queue(key=QUEUE, stack_key=StackKey("stack-default")),
    Queue(key=OTHER, stack_key=StackKey("stack-linux-arm")),
)


def an_event(kind: str) -> dict[str, Any]:
    return {
        "RequestType": kind,
        "ResponseURL": "https://cloudformation.invalid/answer",
        "StackId": "arn:aws:cloudformation:eu-central-1:123456789012:stack/stack/1",
        "RequestId": "1",
        "LogicalResourceId": "Registration",
    }


def answered(event: dict[str, Any], on_delete: Any) -> dict[str, Any]:  # noqa: ANN401  (a stage, or what stands for one)
    """What CloudFormation was sent."""
    sent: list[dict[str, Any]] = []

    def cloudformation(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(200)

    with httpx.Client(transport=httpx.MockTransport(cloudformation)) as http:
        answer_stack_event(event, on_delete=on_delete, http=http, telemetry=RecordedTelemetry())
    (answer,) = sent
    return answer


def test_removing_the_stack_withdraws_every_key() -> None:
    with ExitStack() as stack:
        desk = a_desk(stack).registered(QUEUE, OTHER)
        withdraw = Withdraw(stacks=desk.client, queues=QUEUES, telemetry=desk.telemetry)
        assert answered(an_event("Delete"), withdraw)["Status"] == "SUCCESS"
        assert desk.buildkite.stacks() == ()


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_nothing_else_touches_buildkite(kind: str) -> None:
    def fail() -> Sequence[str]:
        raise AssertionError

    assert answered(an_event(kind), fail)["Status"] == "SUCCESS"


def test_the_physical_id_never_changes() -> None:
    made = answered(an_event("Create"), list)["PhysicalResourceId"]
    assert answered({**an_event("Delete"), "PhysicalResourceId": made}, list)["PhysicalResourceId"] == made


def test_the_stack_goes_even_when_buildkite_is_dead() -> None:
    with ExitStack() as stack:
        desk = a_desk(stack).registered(QUEUE, OTHER)
        desk.buildkite.faults.lose_request(Operation.DEREGISTER_STACK, times=100)
        withdraw = Withdraw(stacks=desk.client, queues=QUEUES, telemetry=desk.telemetry)
        answer = answered(an_event("Delete"), withdraw)
    assert answer["Status"] == "SUCCESS"
    assert "stack-default" in answer["Reason"] or "default" in answer["Reason"]


def test_the_stack_goes_even_when_we_are_broken() -> None:
    def fail() -> Sequence[str]:
        raise ZeroDivisionError("oops")

    assert answered(an_event("Delete"), fail)["Status"] == "SUCCESS"
