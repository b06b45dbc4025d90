"""The port `WakeUps` over the queue that wakes the tracker, beside the events of EC2 and Buildkite."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent_stack.adapters.aws import AwsCalls, RefusedError, required_text
from agent_stack.domain.errors import WaitError

THROTTLES = frozenset({"RequestThrottled", "ThrottlingException", "Throttling"})
SERVER_ERRORS = frozenset({"InternalError", "InternalFailure", "ServiceUnavailable"})

JOB_ON_STANDBY_VM = '{"source": "agent-stack", "detail-type": "Job on a standby VM"}'
"""Without ids, so that no tracker takes it for news of VMs and jobs that it does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SqsWakeUps:
    """Sends one message for each wake-up.

    Attributes:
        client: of SQS, made at its first use.
    """

    client: Callable[[], Any]
    calls: AwsCalls
    queue_url: str

    def wake_tracker(self) -> None:
        """See the port. Asked once: a schedule wakes the tracker each minute anyway."""
        try:
            self.calls.call("SendMessage", self._send, tries=1)
        except RefusedError as error:
            raise WaitError(f"SendMessage to {self.queue_url}: {error}") from None

    def _send(self) -> str:
        answer = self.client().send_message(QueueUrl=self.queue_url, MessageBody=JOB_ON_STANDBY_VM)
        return required_text(answer["MessageId"])
