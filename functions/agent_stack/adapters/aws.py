"""One call to AWS: repeats it while that is safe and there is time, and turns every way of failing into the error tree.

Botocore's own retries are switched off where clients are made; this is the only place that repeats.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ProxyConnectionError,
)

from agent_stack.domain.errors import LaunchPausedError, RetryError, TransientError, UnknownOutcomeError, WaitError
from agent_stack.ports import Clock, Deadline, Ids

ResultT = TypeVar("ResultT")

MAX_TRIES = 4
BACKOFF_BASE = timedelta(milliseconds=200)
BACKOFF_CAP = timedelta(seconds=5)

NOT_SENT = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)


class RefusedError(Exception):
    """AWS answered with an error that asking again will not change. For the adapter that asked to translate."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


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

    def call(self, name: str, send: Callable[[], ResultT], *, permitted: Callable[[], bool] = lambda: True) -> ResultT:
        """Send, and again while it may help. `send` must be safe to repeat.

        Args:
            permitted: asked before each try; when it says no, nothing more is sent.

        Raises:
            LaunchPausedError: `permitted` said no, and nothing was done.
            RefusedError: AWS answered no.
            UnknownOutcomeError: it may have taken effect.
            RetryError: it did not, and may be asked again later.
            WaitError: there are no credentials to sign with.
        """
        doubt: UnknownOutcomeError | None = None
        failure: TransientError | None = None
        for attempt in range(MAX_TRIES):
            if attempt:
                pause = min(BACKOFF_CAP, BACKOFF_BASE * 2**attempt) * self.ids.fraction()
                if pause >= self.deadline.left():
                    break
                self.clock.sleep(pause)
            if not permitted():
                raise doubt or LaunchPausedError(f"{name}: paused by an operator")
            try:
                return send()
            except ClientError as error:
                failure = self._judge(name, error)
            except NoCredentialsError as error:
                raise WaitError(f"{name}: {error}") from None
            except NOT_SENT as error:
                failure = RetryError(f"{name}: cannot reach AWS: {error}")
            except BotoCoreError as error:
                failure = UnknownOutcomeError(f"{name}: no answer from AWS: {error}")
            if isinstance(failure, UnknownOutcomeError):
                doubt = failure
        raise doubt or failure or RetryError(f"{name}: no time left to ask AWS")

    def _judge(self, name: str, error: ClientError) -> TransientError:
        code = str(error.response.get("Error", {}).get("Code", ""))
        message = str(error.response.get("Error", {}).get("Message", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in self.throttles:
            self.throttled()
            return RetryError(f"{name}: throttled: {code}: {message}")
        if code in self.server_errors or (status >= 500 and code.isdigit()):  # noqa: PLR2004  (a gateway's answer)
            return UnknownOutcomeError(f"{name}: {code}: {message}")
        raise RefusedError(code, message) from None
