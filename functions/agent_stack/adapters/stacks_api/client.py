"""The Stacks API as the stages know it: batches of any length, one error tree, either dialect."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from agent_stack.adapters.stacks_api import limits, models
from agent_stack.adapters.stacks_api.build_pages import BuildPages
from agent_stack.adapters.stacks_api.caller import Caller, Request
from agent_stack.adapters.stacks_api.dialect import Dialect, Paths
from agent_stack.adapters.stacks_api.learnt_dialect import LearntDialect
from agent_stack.adapters.stacks_api.redaction import redacted, without_credentials
from agent_stack.adapters.stacks_api.registrations import Registrations
from agent_stack.domain.errors import (
    AgentStackError,
    BugError,
    ConfigurationError,
    NotFoundError,
)
from agent_stack.domain.identifiers import JobId, QueueKey, StackKey
from agent_stack.domain.jobs import Queue, ScheduledPage
from agent_stack.domain.states import JobState
from agent_stack.domain.texts import crop_bytes
from agent_stack.ports import (
    JobDetails,
    JobStates,
    JobTokens,
    Notification,
    Reserved,
    Telemetry,
    TokenIdentity,
)

MAX_NEW_STATES = 20
"""Unrecognised job states that one process logs. Buildkite adds one now and then."""

AnswerT = TypeVar("AnswerT", bound=models.Answer)
ResultT = TypeVar("ResultT")
ItemT = TypeVar("ItemT")


class HttpStacksApi:
    """The port `StacksApi` over HTTP."""

    def __init__(
        self,
        *,
        caller: Caller,
        queues: Sequence[Queue],
        dialect: Dialect | None,
        job_tokens: bool,
        metadata: Mapping[str, str],
        telemetry: Telemetry,
        stack_key: Callable[[QueueKey], StackKey] | None = None,
        only_looks: bool = False,
    ) -> None:
        """Make the client.

        Args:
            stack_key: the recorded key of a queue; None for those of `queues`.
            dialect: None to learn it from the first listing that succeeds.
            job_tokens: agents get job acquisition tokens, which the preview dialect does not have.
            metadata: what Buildkite shows about the stack; all strings.
            only_looks: no request registers a stack that Buildkite does not know.
        """
        self._caller = caller
        self._queues = {queue.key: queue.stack_key for queue in queues}
        self._stack_key = stack_key
        self._dialect = LearntDialect(dialect, telemetry)
        self._job_tokens = job_tokens
        self._metadata = dict(metadata)
        self._telemetry = telemetry
        self._registrations = Registrations(allowed=not only_looks)
        self._new_states: set[str] = set()
        self._build_pages = BuildPages(
            caller=caller,
            registrations=self._registrations,
            dialect=self._dialect,
            register=self._register,
            stack_key=self._key,
            telemetry=telemetry,
        )

    def register(self, queue: QueueKey) -> None:
        """See the port. Learns the dialect too, so that a setting it cannot serve fails here, at start-up."""
        self._register(queue)
        if self.dialect(queue) is Dialect.PREVIEW and self._job_tokens:
            raise ConfigurationError(
                setting="AgentCredential",
                value="job-token",
                problem="this Buildkite endpoint speaks the preview dialect, which issues no job acquisition tokens",
                remedy="Set AgentCredential to agent-token, or use an endpoint of the current dialect.",
            )

    def _register(self, queue: QueueKey, operation: limits.Operation = limits.REGISTER) -> None:
        body = {"key": self._key(queue), "type": "custom", "queue_key": queue, "metadata": self._metadata}
        self._caller.tell(
            Request(
                operation=operation,
                stack=self._key(queue),
                method="POST",
                path="/stacks/register",
                body=body,
            )
        )
        self._registrations.registered(queue, self._caller.monotonic())

    def deregister(self, queue: QueueKey) -> None:
        """See the port."""
        self.withdraw(self._key(queue))

    def withdraw(self, stack_key: StackKey) -> None:
        """See the port."""
        path = Paths(stack_key=stack_key).deregistering
        try:
            self._caller.tell(Request(operation=limits.DEREGISTER, stack=stack_key, method="POST", path=path))
        except NotFoundError:
            self._telemetry.info("stack_already_gone", stack_key=stack_key)

    def token_identity(self) -> TokenIdentity | None:
        """See the port."""
        try:
            answer = self._caller.ask(
                Request(operation=limits.IDENTITY, stack="", method="GET", path="/token"), models.Identity
            )
        except NotFoundError:
            return None  # the preview dialect has no such endpoint
        queue = answer.organization_queue_key
        return TokenIdentity(
            organization=answer.organization_slug,
            cluster=answer.cluster_name,
            queue=None if queue is None else QueueKey(queue),
        )

    def dialect(self, queue: QueueKey) -> Dialect:
        """The dialect the service speaks; learnt once, from an answer to a path of it, and never changed after."""
        if self._dialect.known is None:
            self._list(queue, limit=1, cursor=None)
        if self._dialect.known is None:  # pragma: no cover - _list sets it or raises
            raise BugError("a listing succeeded and taught no dialect")
        return self._dialect.known

    def list_scheduled(self, queue: QueueKey, *, cursor: str | None = None) -> ScheduledPage:
        """See the port."""
        listing = self._list(queue, limit=limits.MAX_IDS, cursor=cursor)

        def unreadable(job_id: str, why: str) -> None:
            self._telemetry.error("job_unreadable", job_id=redacted(job_id), queue=queue, error=why)

        return listing.to_page(queue, can_page=self._dialect.known is Dialect.CURRENT, unreadable=unreadable)

    def _list(self, queue: QueueKey, *, limit: int, cursor: str | None) -> models.Listing:
        def listing(dialect: Dialect) -> models.Listing:
            paging = {"after": cursor} if cursor is not None and dialect is Dialect.CURRENT else {}
            params = {"queue_key": queue, "limit": str(limit), **paging}
            path = self._paths(queue).listing(dialect)
            return self._ask(self._request(limits.LIST, queue, "GET", path, params=params), models.Listing, queue)

        if self._dialect.known is not None:
            return listing(self._dialect.known)
        try:
            try:
                return self._dialect.in_either(listing)
            except NotFoundError:
                if self._registrations.is_sure(queue, self._caller.monotonic()):
                    raise
            self._telemetry.info("stack_unknown_registering_again", queue=queue)
            self._register(queue)
            return self._dialect.in_either(listing)
        except NotFoundError as error:
            raise ConfigurationError(
                setting="Queues, StackKey",
                value=f"{queue}, {self._key(queue)}",
                problem=f"Buildkite knows neither listing path for this queue and stack key ({error})",
                remedy="Check that the queue exists in the cluster of the agent token and that BuildkiteEndpoint "
                "is right.",
            ) from None

    def job_details(self, queue: QueueKey, job_id: JobId) -> JobDetails:
        """See the port."""
        answer = self._ask(
            self._request(limits.JOB, queue, "GET", self._paths(queue).job(job_id)), models.Details, queue
        )
        env = {name: value for name, value in answer.env.items() if value is not None}
        return JobDetails(job_id=JobId(answer.id), env=env, command=answer.command or "")

    def reserve(self, queue: QueueKey, job_ids: Sequence[JobId], expiry: timedelta) -> Reserved:
        """See the port."""
        if not job_ids:
            return Reserved(reserved=frozenset(), not_reserved=frozenset())
        seconds = round(min(expiry, limits.MAX_RESERVATION).total_seconds())
        reserved: set[JobId] = set()
        not_reserved: set[JobId] = set()

        def one(chunk: Sequence[JobId]) -> None:
            body = {"job_uuids": list(chunk), "reservation_expiry_seconds": seconds}

            def asked_in(dialect: Dialect) -> models.Reservation:
                path = self._paths(queue).reserving(dialect)
                request = self._request(limits.RESERVE, queue, "PUT", path, body=body)
                return self._caller.ask(request, models.Reservation)

            # A process that lists no jobs learns the dialect here: an extension must not wait for a listing.
            answer = self._registered(queue, limits.RESERVE, lambda: self._dialect.in_either(asked_in))
            asked = frozenset(chunk)
            reserved.update(asked.intersection(map(JobId, answer.reserved)))
            not_reserved.update(asked.intersection(map(JobId, answer.not_reserved)) - reserved)

        errors = _each_chunk(job_ids, one)
        return Reserved(reserved=frozenset(reserved), not_reserved=frozenset(not_reserved), errors=errors)

    def job_states(self, queue: QueueKey, job_ids: Sequence[JobId]) -> JobStates:
        """See the port."""
        states: dict[JobId, JobState] = {}

        def one(chunk: Sequence[JobId]) -> None:
            request = self._request(
                limits.STATES, queue, "POST", self._paths(queue).states, body={"job_uuids": list(chunk)}
            )
            answer = self._ask(request, models.States, queue)
            for job_id in chunk:
                if job_id in answer.states:
                    named = answer.states[job_id] or ""
                    states[job_id] = JobState.parse(named)
                    if states[job_id] is JobState.UNRECOGNISED:
                        self._log_new_state(job_id, named)

        errors = _each_chunk(job_ids, one)
        return JobStates(states=states, errors=errors)

    def _log_new_state(self, job_id: JobId, named: str) -> None:
        """Logs a state that this version does not know: once, with the first job in it."""
        state = redacted(named)[:40]
        if state not in self._new_states and len(self._new_states) < MAX_NEW_STATES:
            self._new_states.add(state)
            self._telemetry.info("job_state_unrecognised", job_id=job_id, state=state)

    def issue_tokens(self, queue: QueueKey, job_ids: Sequence[JobId], lifetime: timedelta) -> JobTokens:
        """See the port."""
        clipped = min(max(lifetime, limits.MIN_TOKEN_LIFETIME), limits.MAX_TOKEN_LIFETIME)
        tokens: dict[JobId, str] = {}

        def one(chunk: Sequence[JobId]) -> None:
            body = {"job_uuids": list(chunk), "token_lifetime_seconds": round(clipped.total_seconds())}
            request = self._request(limits.TOKENS, queue, "POST", self._paths(queue).tokens, body=body)
            answer = self._ask(request, models.IssuedTokens, queue)
            asked = frozenset(chunk)
            for raw in answer.job_acquisition_tokens:
                try:
                    issued = models.IssuedToken.model_validate(raw)
                except ValueError as error:
                    self._telemetry.error("token_unreadable", error=models.problem(error))
                    continue
                if issued.job_uuid in asked:
                    tokens[JobId(issued.job_uuid)] = issued.job_acquisition_token

        errors = _each_chunk(job_ids, one)
        return JobTokens(tokens=tokens, not_issued=frozenset(job_ids) - tokens.keys(), errors=errors)

    def finish(self, queue: QueueKey, job_id: JobId, *, exit_status: int, detail: str) -> None:
        """See the port."""
        body = {"exit_status": exit_status, "detail": crop_bytes(without_credentials(detail), limits.MAX_DETAIL_BYTES)}
        self._tell(self._request(limits.FINISH, queue, "POST", self._paths(queue).finishing(job_id), body=body), queue)

    def notify(self, queue: QueueKey, notifications: Sequence[Notification]) -> Mapping[JobId, AgentStackError]:
        """See the port."""
        return self._build_pages.notify(queue, notifications) if notifications else {}

    def _ask(self, request: Request, answer: type[AnswerT], queue: QueueKey) -> AnswerT:
        return self._registered(queue, request.operation, lambda: self._caller.ask(request, answer))

    def _tell(self, request: Request, queue: QueueKey) -> None:
        self._registered(queue, request.operation, lambda: self._caller.tell(request))

    def _registered(self, queue: QueueKey, operation: limits.Operation, send: Callable[[], ResultT]) -> ResultT:
        """Send; when Buildkite has, or may have, forgotten the stack, register it again and send once more."""
        try:
            return send()
        except NotFoundError as error:
            unknown_path = operation is limits.LIST and self._dialect.known is None
            now = self._caller.monotonic()
            if unknown_path or not self._registrations.is_worth_another(queue, operation, error, now):
                raise
        self._telemetry.info("stack_unknown_registering_again", queue=queue)
        self._register(queue)
        return send()

    def _key(self, queue: QueueKey) -> StackKey:
        return self._queues[queue] if self._stack_key is None else self._stack_key(queue)

    def _paths(self, queue: QueueKey) -> Paths:
        return Paths(stack_key=self._key(queue))

    def _request(
        self,
        operation: limits.Operation,
        queue: QueueKey,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Request:
        return Request(
            operation=operation,
            stack=self._key(queue),
            method=method,
            path=path,
            params=params or {},
            body=body,
        )


def _each_chunk(items: Sequence[ItemT], one: Callable[[Sequence[ItemT]], None]) -> tuple[AgentStackError, ...]:
    """Run every chunk whatever becomes of the others; the answer holds what failed."""
    errors: list[AgentStackError] = []
    for chunk in _chunks(items):
        try:
            one(chunk)
        except AgentStackError as error:
            errors.append(error)
    return tuple(errors)


def _chunks(items: Sequence[ItemT]) -> Iterator[Sequence[ItemT]]:
    for start in range(0, len(items), limits.MAX_IDS):
        yield items[start : start + limits.MAX_IDS]
