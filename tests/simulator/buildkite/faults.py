"""Scripted faults: what goes wrong between a client and the service, and how often."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tests.simulator.buildkite.operations import Operation


class FaultKind(StrEnum):
    """Where the request goes wrong."""

    REFUSED = "refused"  # answered with an error; nothing happened
    NOT_ARRIVED = "not arrived"  # the connection fails; nothing happened
    ANSWER_LOST = "answer lost"  # it happened; the client never learns
    ANSWER_CUT = "answer cut"  # it happened; half of the answer's body arrives
    ANSWER_LATE = "answer late"  # it happened; the answer takes its time


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of one request."""

    kind: FaultKind
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """Sent as it stands, when the error is not to be JSON."""
    message: str | None = None
    """Of the error, in place of one that says that it was scripted."""
    seconds: float = 0.0


class Faults:
    """Faults by operation, used up in the order in which they were scripted."""

    def __init__(self) -> None:
        self._scripted: dict[Operation, deque[Fault]] = {}
        self.on_hit: Callable[[Fault], None] = lambda _: None
        """Told of each fault as it happens."""

    def fail(
        self,
        operation: Operation,
        *,
        status: int = 500,
        times: int = 1,
        retry_after: int | None = None,
        body: bytes | None = None,
        message: str | None = None,
    ) -> None:
        """Answer the next requests with an error, in JSON with that message or with that body."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        fault = Fault(kind=FaultKind.REFUSED, status=status, headers=headers, body=body, message=message)
        self._script(operation, fault, times)

    def lose_request(self, operation: Operation, *, times: int = 1) -> None:
        """Let the next requests not arrive."""
        self._script(operation, Fault(kind=FaultKind.NOT_ARRIVED), times)

    def lose_answer(self, operation: Operation, *, times: int = 1) -> None:
        """Do what the next requests ask for, and lose the answers."""
        self._script(operation, Fault(kind=FaultKind.ANSWER_LOST), times)

    def cut_answer(self, operation: Operation, *, times: int = 1) -> None:
        """Do what the next requests ask for, and send half of each answer."""
        self._script(operation, Fault(kind=FaultKind.ANSWER_CUT), times)

    def delay_answer(self, operation: Operation, *, seconds: float, times: int = 1) -> None:
        """Do what the next requests ask for, and answer late: really over HTTP, by the client's time-out without."""
        self._script(operation, Fault(kind=FaultKind.ANSWER_LATE, seconds=seconds), times)

    def clear(self) -> None:
        """Let nothing more go wrong."""
        self._scripted.clear()

    def next(self, operation: Operation) -> Fault | None:
        """The fault that this request of the operation meets; None when it meets none."""
        waiting = self._scripted.get(operation)
        if not waiting:
            return None
        self.on_hit(waiting[0])
        return waiting.popleft()

    def _script(self, operation: Operation, fault: Fault, times: int) -> None:
        self._scripted.setdefault(operation, deque()).extend([fault] * times)
