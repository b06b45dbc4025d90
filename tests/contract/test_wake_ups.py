"""What a wake-up of the tracker is on its way: one message in its queue, which a tracker that knows nothing takes."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from agent_stack.adapters import sqs
from agent_stack.adapters.aws import AwsCalls
from agent_stack.adapters.sqs import SqsWakeUps
from agent_stack.domain.errors import RetryError, UnknownOutcomeError, WaitError
from agent_stack.domain.triggers import Trigger, mentioned
from agent_stack.tracker.event_filter import EventFilter
from tests.simulator.clock import FixedDeadline, VirtualClock
from tests.simulator.identity import SeededIds
from tests.simulator.memory import MemoryLedger, Store
from tests.simulator.telemetry import RecordedTelemetry


class Queue:
    """The queue that wakes the tracker, in moto."""

    def __init__(self) -> None:
        self.client: Any = boto3.client(
            "sqs", region_name="eu-central-1", aws_access_key_id="AKID", aws_secret_access_key="secret"
        )
        self.url = self.client.create_queue(QueueName="stack-Wakes")["QueueUrl"]
        self.clock = VirtualClock()

    def wake_ups(self, client: Any = None, url: str = "") -> SqsWakeUps:  # noqa: ANN401  (looks like SQS's)
        calls = AwsCalls(
            clock=self.clock,
            ids=SeededIds(),
            deadline=FixedDeadline(),
            throttles=sqs.THROTTLES,
            server_errors=sqs.SERVER_ERRORS,
        )
        return SqsWakeUps(client=lambda: client or self.client, calls=calls, queue_url=url or self.url)

    def event(self) -> dict[str, Any]:
        """What Lambda makes of the messages for the tracker."""
        messages = self.client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages", [])
        return {"Records": [{"eventSource": "aws:sqs", "body": message["Body"]} for message in messages]}


@pytest.fixture
def queue() -> Iterator[Queue]:
    with mock_aws():
        yield Queue()


class Refusing:
    """SQS, answering each message with that code."""

    def __init__(self, code: str) -> None:
        self.code, self.asked = code, 0

    def send_message(self, **_: object) -> None:
        self.asked += 1
        raise ClientError({"Error": {"Code": self.code, "Message": "no"}}, "SendMessage")


def test_a_wake_up_starts_a_tracker_that_knows_none_of_the_vms(queue: Queue) -> None:
    queue.wake_ups().wake_tracker()
    event = queue.event()
    assert [json.loads(record["body"])["source"] for record in event["Records"]] == ["agent-stack"]
    assert Trigger.of(event) is Trigger.WAKE_UP
    knows_nothing = EventFilter(ledger=MemoryLedger(store=Store()), clock=queue.clock, telemetry=RecordedTelemetry())
    assert knows_nothing.mentions_ours(mentioned(event))


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("AccessDenied", WaitError),
        ("QueueDoesNotExist", WaitError),
        ("RequestThrottled", RetryError),
        ("InternalError", UnknownOutcomeError),
    ],
)
def test_a_refusal_is_an_error_of_ours_and_is_not_asked_again(queue: Queue, code: str, error: type[Exception]) -> None:
    refusing = Refusing(code)
    with pytest.raises(error, match=code if error is not RetryError else "throttled"):
        queue.wake_ups(refusing).wake_tracker()
    assert refusing.asked == 1
