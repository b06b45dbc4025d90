"""One call to AWS: repeats it while that is safe and there is time, and turns every way of failing into the error tree.

Botocore's own retries are switched off where clients are made; this is the only place that repeats. It is also the only
place that decides what an answer is: an adapter reads the answer inside the call, and an answer that cannot be read is
an unknown outcome of this call.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ProxyConnectionError,
)

from agent_stack.adapters.standstill import paused
from agent_stack.domain.errors import (
    AgentStackError,
    LaunchPausedError,
    RetryError,
    TransientError,
    UnknownOutcomeError,
    WaitError,
)
from agent_stack.ports import Clock, Deadline, Ids

ResultT = TypeVar("ResultT")

MAX_TRIES = 4
BACKOFF_BASE = timedelta(milliseconds=200)

NOT_SENT = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)


class RefusedError(Exception):
    """AWS answered with an error that asking again will not change. For the adapter that asked to translate."""

    def __init__(self, code: str, message: str, response: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.response = response or {}


class RefusedInDoubtError(UnknownOutcomeError):
    """AWS refused a repeat, and an earlier try may have taken effect: the refusal may be of our own effect."""

    def __init__(self, name: str, refusal: RefusedError) -> None:
        super().__init__(f"{name}: an earlier try may have taken effect; its repeat was refused: {refusal}")
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsCalls:
    """Calls one AWS service.

    Attributes:
        throttles: codes that say nothing was done.
        server_errors: codes that leave it open whether something was done.
        throttled: told of each answer that says nothing was done for now.
    """

    clock: Clock
    ids: Ids
    deadline: Deadline
    throttles: frozenset[str]
    server_errors: frozenset[str]
    throttled: Callable[[], None] = lambda: None

    def call(
        self,
        name: str,
        send: Callable[[], ResultT],
        *,
        is_read: bool = False,
        tries: int = MAX_TRIES,
        permitted: Callable[[], bool] = lambda: True,
    ) -> ResultT:
        """Send, and again while it may help.

        Args:
            send: asks and reads the answer; must be safe to repeat. An answer that it fails to read counts as lost.
            is_read: the request changes nothing, so the last answer alone tells the truth.
            tries: how often it is sent at most.
            permitted: asked before each try; when it says no, nothing more is sent.

        Raises:
            LaunchPausedError: `permitted` said no, and nothing was done.
            RefusedError: AWS answered no, and no earlier try of this call can have taken effect.
            RefusedInDoubtError: AWS answered no after a try that may have taken effect.
            UnknownOutcomeError: it may have taken effect.
            RetryError: it did not, and may be asked again later.
            WaitError: there are no credentials to sign with.
        """
        doubt: UnknownOutcomeError | None = None
        failure: TransientError | None = None
        for attempt in range(tries):
            if attempt:
                pause = BACKOFF_BASE * 2**attempt * self.ids.fraction()
                if pause >= self.deadline.left():
                    break
                if not paused(self.clock, pause):
                    break
            if not permitted():
                raise doubt or LaunchPausedError(f"{name}: paused by an operator")
            try:
                return send()
            except AgentStackError:
                raise
            except Exception as error:  # noqa: BLE001  (parsers of answers raise anything)
                meaning = self._meaning(name, error)
            if isinstance(meaning, RefusedError):
                raise meaning if doubt is None or is_read else RefusedInDoubtError(name, meaning)
            failure = meaning
            if isinstance(failure, UnknownOutcomeError):
                doubt = failure
        raise doubt or failure or RetryError(f"{name}: no time left to ask AWS")

    def _meaning(self, name: str, error: Exception) -> TransientError | RefusedError:
        match error:
            case ClientError():
                return self._answered(name, error.response)
            case NoCredentialsError():
                raise WaitError(f"{name}: {error}") from None
            case _ if isinstance(error, NOT_SENT):
                return RetryError(f"{name}: cannot reach AWS: {error}")
            case BotoCoreError():
                return UnknownOutcomeError(f"{name}: no answer from AWS: {error}")
            case _:  # by its type alone: the text may hold a part of an item
                return UnknownOutcomeError(f"{name}: the answer from AWS cannot be read: {type(error).__name__}")

    def _answered(self, name: str, response: Mapping[str, Any]) -> TransientError | RefusedError:
        said = response.get("Error") or {}
        code, message = str(said.get("Code") or ""), str(said.get("Message") or "")
        if code in self.throttles:
            self.throttled()
            return RetryError(f"{name}: throttled: {code}: {message}")
        # Botocore gives the HTTP status as the code of an answer that is no error of AWS, such as a gateway's page.
        if code in self.server_errors or not code or code.isdigit():
            return UnknownOutcomeError(f"{name}: {code or 'an error without a code'}: {message}")
        return RefusedError(code, message, response)


def required(value: object, kind: type[ResultT]) -> ResultT:
    """A member of an answer that a real answer has, with its type.

    Raises:
        TypeError: it has another type. `AwsCalls.call` makes an unknown outcome of it.
    """
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise TypeError(f"{type(value).__name__} in place of {kind.__name__}")
    return value


def required_text(value: object) -> str:
    """As `required`, a text that is not empty."""
    text = required(value, str)
    if not text:
        raise ValueError("an empty text")
    return text
