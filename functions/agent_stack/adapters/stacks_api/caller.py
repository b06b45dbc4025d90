"""One request to the Stacks API, with everything that surrounds it: token, rate, time-outs, retries, errors.

The only place that repeats a request, and it does so by what is safe: see `limits.Safety`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from agent_stack.adapters.bounded_http import TOTAL_SECONDS
from agent_stack.adapters.stacks_api.bodies import UnreadableBodyError, body_parts
from agent_stack.adapters.stacks_api.limits import REGISTER, Names, Operation, Safety
from agent_stack.adapters.stacks_api.models import problem
from agent_stack.adapters.stacks_api.rates import Rates, away_for, retry_after, used_percent
from agent_stack.adapters.stacks_api.redaction import redacted
from agent_stack.adapters.standstill import paused
from agent_stack.domain.errors import (
    AgentStackError,
    GiveUpError,
    NotAskedError,
    NotFoundError,
    RetryError,
    StackNotFoundError,
    TransientError,
    UnknownOutcomeError,
    WaitError,
)
from agent_stack.domain.measures import Metric
from agent_stack.ports import Clock, Deadline, Ids, Secrets, Telemetry

CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 8.0
POOL_TIMEOUT = 3.0
BACKOFF_BASE = timedelta(milliseconds=200)
MAX_PAUSES = timedelta(seconds=2)
"""Together in one call, also those for the rate. A cycle waits for the call, and its lease lasts a few seconds."""

MAX_ANSWER_BYTES = 32 * 1024 * 1024  # 1,000 jobs at a few KB; "get a job" can pass 100 KB

AnswerT = TypeVar("AnswerT", bound=BaseModel)

REFUSED_REMEDY = "Check the token in the SSM parameter that AgentTokenParameter names."
TOO_MANY_REMEDY = "Remove stacks that are no longer used, or check what the agent token may do."
FORBIDDEN_REMEDY = "Check what the token in the SSM parameter that AgentTokenParameter names may do."

SURELY_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
    UnicodeError,  # the host is no name: the resolver raises this, and httpx passes it on as it is
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request of one stack.

    Attributes:
        stack: whose rate it counts against.
        path: relative to the base URL, encoded already.
    """

    operation: Operation
    stack: str
    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)


class Caller:
    """Sends requests and turns every way of failing into the error tree. Readers beside the cycle call it, too."""

    def __init__(
        self,
        *,
        base_url: str,
        http: httpx.Client,
        secrets: Secrets,
        clock: Clock,
        ids: Ids,
        deadline: Deadline,
        telemetry: Telemetry,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._http = http
        self._secrets = secrets
        self._clock = clock
        self._ids = ids
        self._deadline = deadline
        self._telemetry = telemetry
        self._rates = Rates()

    def now(self) -> datetime:
        """The time by the clock that requests are sent by."""
        return self._clock.now()

    def ask(self, request: Request, answer: type[AnswerT]) -> AnswerT:
        """Send, and read a JSON answer.

        Raises:
            UnknownOutcomeError: the answer was 2xx but cannot be read, or never came.
            RetryError | WaitError | GiveUpError: see `tell`.
        """
        reply = self._send(request)
        try:
            # The standard parser: pydantic's own refuses a whole page for one job's lone surrogate.
            return answer.model_validate(json.loads(reply.content))
        except (ValidationError, ValueError, RecursionError) as error:
            raise UnknownOutcomeError(
                f"{request.operation.name}: Buildkite answered {reply.status}, unreadable: {problem(error)}"
            ) from None

    def tell(self, request: Request) -> None:
        """Send; any 2xx with a JSON body or none will do.

        Raises:
            UnknownOutcomeError: it may have taken effect.
            RetryError: it did not, and may be asked again later.
            WaitError: the token is refused, or Buildkite refuses all of us; an operator must act.
            StackNotFoundError: the stack key must be registered (again).
            NotFoundError, GiveUpError: this request will never succeed.
        """
        reply = self._send(request)
        try:
            if reply.content.strip():
                json.loads(reply.content)
        except (ValueError, RecursionError):
            raise UnknownOutcomeError(
                f"{request.operation.name}: {reply.status} without JSON is no answer of Buildkite"
            ) from None

    def monotonic(self) -> timedelta:
        """See the port `Clock`."""
        return self._clock.monotonic()

    def _send(self, request: Request) -> _Reply:
        """As `_tries`. A refusal after a try that may have arrived may be of our own effect: the doubt stays."""
        doubts: list[UnknownOutcomeError] = []
        try:
            return self._tries(request, doubts)
        except UnknownOutcomeError:
            raise
        except AgentStackError as error:
            if not doubts or request.operation.safety is Safety.LAST_ANSWER_COUNTS:
                raise
            raise UnknownOutcomeError(f"{doubts[-1]}; then: {error}") from None

    def _tries(self, request: Request, doubts: list[UnknownOutcomeError]) -> _Reply:
        """Send, and again while it may help. Adds to `doubts` each try after which the request may have arrived."""
        failure: AgentStackError | None = None
        fresh_token = False
        patience = MAX_PAUSES
        for attempt in range(request.operation.tries):
            if attempt:
                pause = self._pause(attempt, failure, patience)
                if pause > patience or pause >= self._deadline.left():
                    break
                patience -= pause
                if not paused(self._clock, pause):
                    break
            patience -= self._wait_for_rate(request, patience)
            try:
                return self._answered(request, fresh_token=fresh_token)
            except _TokenRefusedError as error:
                if fresh_token:
                    self._telemetry.count(Metric.TOKEN_REFUSED)
                    raise
                fresh_token = True  # it may have been rotated under a warm process: read it anew, once
                failure = error
            except TransientError as error:
                if isinstance(error, UnknownOutcomeError):
                    doubts.append(error)
                if not _may_repeat(request.operation.safety, error, len(doubts)):
                    raise
                failure = error
        raise failure or RetryError(f"{request.operation.name}: no time left to ask Buildkite")

    def _answered(self, request: Request, *, fresh_token: bool) -> _Reply:
        reply = self._once(request, fresh_token=fresh_token)
        refusal = self._refusal(request, reply)
        if refusal is not None:
            raise refusal
        return reply

    def _once(self, request: Request, *, fresh_token: bool) -> _Reply:
        """One try. Raises RetryError when it surely did not arrive, UnknownOutcomeError when it may have."""
        left = min(self._deadline.left(), request.operation.timeout).total_seconds()
        if left <= 0:
            raise NotAskedError(f"{request.operation.name}: no time left to ask Buildkite")
        token = self._secrets.agent_token(fresh=fresh_token)
        try:
            with self._http.stream(
                request.method,
                self._base_url + request.path,
                params=dict(request.params) or None,
                json=request.body,
                headers={"Authorization": f"Token {token}", "Accept": "application/json"},
                extensions={TOTAL_SECONDS: left},
                timeout=httpx.Timeout(
                    min(READ_TIMEOUT, left), connect=min(CONNECT_TIMEOUT, left), pool=min(POOL_TIMEOUT, left)
                ),
            ) as response:
                content = self._read(response, request, left)
                reply = _Reply(status=response.status_code, headers=response.headers, content=content)
        except SURELY_NOT_SENT as error:
            raise RetryError(
                f"{request.operation.name}: cannot reach {self._base_url}: {redacted(str(error), token)}"
            ) from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise UnknownOutcomeError(
                f"{request.operation.name}: no answer: {type(error).__name__} {redacted(str(error), token)}"
            ) from None
        self._rates.heard(request.stack, request.operation, reply.headers, self._clock.monotonic())
        self._telemetry.peak(Metric.STACKS_API_USED_PERCENT, used_percent(reply.headers))
        return reply

    def _read(self, response: httpx.Response, request: Request, left: float) -> bytes:
        """The body, within the total time and a bounded size."""
        started = self._clock.monotonic()
        parts: list[bytes] = []
        try:
            for part in body_parts(response, MAX_ANSWER_BYTES):
                parts.append(part)
                if (self._clock.monotonic() - started).total_seconds() > left:
                    raise UnknownOutcomeError(f"{request.operation.name}: Buildkite's answer took too long")
        except UnreadableBodyError as error:
            raise UnknownOutcomeError(f"{request.operation.name}: Buildkite's answer {error}") from None
        return b"".join(parts)

    def _refusal(self, request: Request, reply: _Reply) -> AgentStackError | None:
        """The error an answer stands for; None for any 2xx."""
        if httpx.codes.is_success(reply.status):
            return None
        said = f"{request.operation.name}: Buildkite answered {reply.status}: {_message(reply.content)}"
        match reply.status:
            case 401:
                error: AgentStackError = _TokenRefusedError(f"{said}. {REFUSED_REMEDY}")
            case 403:
                remedy = TOO_MANY_REMEDY if request.operation.name == REGISTER.name else FORBIDDEN_REMEDY
                error = WaitError(f"{said}. {remedy}")
            case 404:
                about_the_stack = request.operation.names is Names.STACK
                error = StackNotFoundError(said) if about_the_stack else NotFoundError(said)
            case 429:
                self._telemetry.count(Metric.STACKS_API_THROTTLED)
                after = retry_after(reply.headers, self._clock.now())
                if after is not None:
                    self._rates.refused(request.stack, request.operation, after, self._clock.monotonic())
                error = _RateLimitedError(said, after)
            case status if status >= httpx.codes.INTERNAL_SERVER_ERROR or status == httpx.codes.REQUEST_TIMEOUT:
                away = away_for(reply.headers, self._clock.now())
                if away is not None:
                    self._rates.refused(request.stack, request.operation, away, self._clock.monotonic())
                error = UnknownOutcomeError(said)
            case _:
                error = GiveUpError(said)
        return error

    def _pause(self, attempt: int, failure: AgentStackError | None, patience: timedelta) -> timedelta:
        """How long to back off before another try, with full jitter; longer than the patience if Buildkite asks so."""
        asked = failure.after if isinstance(failure, _RateLimitedError) and failure.after is not None else timedelta()
        jitter: timedelta = BACKOFF_BASE * 2**attempt * self._ids.fraction()
        return max(asked, min(asked + jitter, patience))

    def _wait_for_rate(self, request: Request, patience: timedelta) -> timedelta:
        """Wait for a place under the rate.

        Returns:
            how long that took.

        Raises:
            NotAskedError: the place comes later than a cycle can wait for it, or came while the process stood still.
        """
        waited = timedelta()
        while True:
            delay = self._rates.delay(request.stack, request.operation, self._clock.monotonic())
            if not delay:
                return waited
            if delay > patience - waited or delay >= self._deadline.left() or request.operation.tries == 1:
                raise NotAskedError(f"{request.operation.name}: the wait that Buildkite asks for outlasts this cycle")
            self._telemetry.count(Metric.STACKS_API_DELAYED)
            if not paused(self._clock, delay):
                raise NotAskedError(f"{request.operation.name}: the function stood still before it could ask Buildkite")
            waited += delay


class _TokenRefusedError(WaitError):
    """401: nothing was done."""


class _RateLimitedError(RetryError):
    def __init__(self, message: str, after: timedelta | None) -> None:
        super().__init__(message)
        self.after = after


def _may_repeat(safety: Safety, failure: TransientError, doubts: int) -> bool:
    """Whether to send again after that failure and that many tries that may have arrived."""
    match safety:
        case Safety.LAST_ANSWER_COUNTS | Safety.IDEMPOTENT:
            return True
        case Safety.ONCE:
            return doubts == 0 and not isinstance(failure, _RateLimitedError)


def _message(content: bytes) -> str:
    """What an error answer says, which may not be JSON at all."""
    try:
        body = json.loads(content)
        text = body["message"] if isinstance(body, dict) and isinstance(body.get("message"), str) else ""
    except (ValueError, RecursionError):
        text = content[:200].decode("utf-8", "replace")
    return redacted(text) or "(no message)"
