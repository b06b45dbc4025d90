"""What CloudFormation is answered when the stack is made, changed or removed."""

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import httpx
import pytest
from werkzeug import Request, Response

from agent_stack.adapters.cloudformation import answer_stack_event
from agent_stack.domain.errors import ConfigurationError, RetryError
from agent_stack.domain.identifiers import StackKey
from agent_stack.domain.jobs import Queue
from agent_stack.domain.stack_keys import StackKeyNames
from agent_stack.removal.deregister import Deregister
from agent_stack.stack_keys import StackKeys
from agent_stack.wiring.stack_events import answer_for_stack
from tests.contract.stacks import OTHER, QUEUE, a_desk
from tests.simulator.buildkite import Operation
from tests.simulator.loopback import LoopbackServer
from tests.simulator.memory import MemoryLedger, Store
from tests.simulator.telemetry import RecordedTelemetry
from tests.unit.values import an_environment

QUEUES = (
    Queue(key=QUEUE, stack_key=StackKey("stack-default")),
    Queue(key=OTHER, stack_key=StackKey("stack-linux-arm")),
)


def keys(store: Store | None = None) -> StackKeys:
    names = StackKeyNames(prefix="stack", deployment="aws:123456789012:eu-central-1:stack")
    return StackKeys(names=names, ledger=MemoryLedger(store=store or Store()))


def an_event(kind: str) -> dict[str, Any]:
    return {
        "RequestType": kind,
        "ResponseURL": "https://cloudformation.invalid/answer",
        "StackId": "arn:aws:cloudformation:eu-central-1:123456789012:stack/stack/1",
        "RequestId": "1",
        "LogicalResourceId": "Registration",
    }


def answered(
    event: dict[str, Any],
    on_delete: Any,  # noqa: ANN401  (a stage, or what stands for one)
    on_deploy: Callable[[], Sequence[str]] = tuple,
) -> dict[str, Any]:
    """What CloudFormation was sent."""
    sent: list[dict[str, Any]] = []

    def cloudformation(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(200)

    with httpx.Client(transport=httpx.MockTransport(cloudformation)) as http:
        answer_stack_event(event, on_deploy=on_deploy, on_delete=on_delete, http=http, telemetry=RecordedTelemetry())
    (answer,) = sent
    return answer


def test_removing_the_stack_withdraws_every_key() -> None:
    with ExitStack() as stack:
        desk = a_desk(stack).registered(QUEUE, OTHER)
        withdraw = Deregister(stacks=desk.client, queues=QUEUES, stack_keys=keys(), telemetry=desk.telemetry)
        assert answered(an_event("Delete"), withdraw)["Status"] == "SUCCESS"
        assert desk.buildkite.stacks() == ()


def test_removing_the_stack_withdraws_the_key_of_a_queue_that_it_served_before() -> None:
    with ExitStack() as stack:
        desk = a_desk(stack).registered(QUEUE, OTHER)
        store = Store()
        recorded = keys(store)
        recorded.keep([QUEUE, OTHER], also={})
        withdraw = Deregister(stacks=desk.client, queues=QUEUES[:1], stack_keys=keys(store), telemetry=desk.telemetry)
        assert answered(an_event("Delete"), withdraw)["Status"] == "SUCCESS"
        assert desk.buildkite.stacks() == ()


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_nothing_else_touches_buildkite(kind: str) -> None:
    def fail() -> Sequence[str]:
        raise AssertionError

    assert answered(an_event(kind), fail)["Status"] == "SUCCESS"


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_a_deployment_with_a_wrong_setting_fails_with_its_message(kind: str) -> None:
    def check() -> Sequence[str]:
        raise ConfigurationError(setting="Queues", value="", problem="no queue", remedy="Name one.")

    answer = answered(an_event(kind), list, check)
    assert (answer["Status"], answer["Reason"]) == ("FAILED", "Queues='': no queue. Name one.")


@pytest.mark.parametrize(("kind", "status"), [("Create", "FAILED"), ("Update", "SUCCESS")])
def test_bad_weather_stops_a_new_stack_and_no_change(kind: str, status: str) -> None:
    """A change may be the way back to what worked; a new stack that nobody could look at is not called good."""

    def check() -> Sequence[str]:
        raise RetryError("SSM is throttled")

    answer = answered(an_event(kind), list, check)
    assert (answer["Status"], answer["Reason"]) == (status, "SSM is throttled")


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_what_is_wrong_with_a_part_stops_nothing_and_is_an_output_of_the_stack(kind: str) -> None:
    answer = answered(an_event(kind), list, lambda: ["class a is wrong", "subnet b is gone"])
    assert (answer["Status"], answer["Data"]) == ("SUCCESS", {"Problems": "class a is wrong; subnet b is gone"})
    assert answered(an_event(kind), list)["Data"] == {"Problems": "none"}
    long = answered(an_event(kind), list, lambda: ["“ü”" * 2000])
    assert len(json.dumps(long)) <= 4096  # CloudFormation takes no more


@pytest.mark.parametrize(("kind", "status"), [("Create", "FAILED"), ("Delete", "SUCCESS")])
def test_settings_that_cannot_be_read_are_answered_all_the_same(kind: str, status: str) -> None:
    sent: list[dict[str, Any]] = []

    def cloudformation(request: Request) -> Response:
        sent.append(json.loads(request.get_data()))
        return Response()

    with LoopbackServer(cloudformation, advance=lambda: None) as server:
        event = {**an_event(kind), "ResponseURL": f"{server.origin}/answer"}
        answer_for_stack(an_environment(QUEUES=""), event, timedelta(seconds=30))
    (answer,) = sent
    assert answer["Status"] == status
    assert "Queues" in answer["Reason"]


def test_the_physical_id_never_changes() -> None:
    made = answered(an_event("Create"), list)["PhysicalResourceId"]
    for known in (made, "made-by-another-version"):  # CloudFormation would take another id for another resource
        for kind in ("Update", "Delete"):
            answer = answered({**an_event(kind), "PhysicalResourceId": known}, list)
            assert answer["PhysicalResourceId"] == known


def test_the_stack_goes_even_when_buildkite_is_dead() -> None:
    with ExitStack() as stack:
        desk = a_desk(stack).registered(QUEUE, OTHER)
        desk.buildkite.faults.lose_request(Operation.DEREGISTER_STACK, times=100)
        withdraw = Deregister(stacks=desk.client, queues=QUEUES, stack_keys=keys(), telemetry=desk.telemetry)
        answer = answered(an_event("Delete"), withdraw)
    assert answer["Status"] == "SUCCESS"
    assert "stack-default" in answer["Reason"] or "default" in answer["Reason"]


def test_the_stack_goes_even_when_we_are_broken() -> None:
    def fail() -> Sequence[str]:
        raise ZeroDivisionError("oops")

    assert answered(an_event("Delete"), fail)["Status"] == "SUCCESS"


def test_an_answer_that_cloudformation_refuses_is_an_error_and_no_end_of_it() -> None:
    with (
        httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(403))) as http,
        pytest.raises(httpx.HTTPStatusError),
    ):
        answer_stack_event(
            an_event("Delete"), on_deploy=tuple, on_delete=tuple, http=http, telemetry=RecordedTelemetry()
        )
