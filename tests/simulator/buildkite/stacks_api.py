"""The ten operations of the Stacks API over the model."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta

from tests.simulator.buildkite.access_log import Actor, ActorKind
from tests.simulator.buildkite.body import Fields, iso, parse_time
from tests.simulator.buildkite.call import Answer, Call, Handler
from tests.simulator.buildkite.cursor import cursor_behind, position_of
from tests.simulator.buildkite.job import Job, Notification, Outcome, StackFinish
from tests.simulator.buildkite.model import Model
from tests.simulator.buildkite.operations import Operation
from tests.simulator.buildkite.queues import Queue
from tests.simulator.buildkite.rules import Refusal, Rule
from tests.simulator.buildkite.settings import Dialect
from tests.simulator.buildkite.stacks import Stack
from tests.simulator.buildkite.stacks_bodies import listed_job, listed_queue, registered_stack, wire_state
from tests.simulator.buildkite.states import OVER, JobState
from tests.simulator.buildkite.tokens import AgentToken

_STACK_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STACK_TYPES = frozenset({"custom", "kubernetes", "elastic"})


class StacksApi:
    """Serves the Stacks API. Its callers have been authorised and counted against the rate limit."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._limits = model.settings.limits

    @property
    def handlers(self) -> Mapping[Operation, Handler]:
        """The handler of each operation."""
        return {
            Operation.REGISTER_STACK: self._register,
            Operation.DEREGISTER_STACK: self._deregister,
            Operation.LIST_SCHEDULED_JOBS: self._list,
            Operation.RESERVE_JOBS: self._reserve,
            Operation.GET_JOB: self._get_job,
            Operation.GET_JOB_STATES: self._get_states,
            Operation.FINISH_JOB: self._finish,
            Operation.NOTIFY: self._notify,
            Operation.ISSUE_ACQUISITION_TOKENS: self._issue_tokens,
            Operation.TOKEN_IDENTITY: self._identity,
        }

    def authorise(self, call: Call) -> AgentToken:
        """The agent token a request came with.

        Raises:
            Refusal: 401, it came with none that is valid.
        """
        token = self._model.agent_tokens.find(call.token) if call.token is not None else None
        if token is None:
            raise Refusal(401, "The agent token is missing, wrong or expired")
        call.trace.actor = Actor(kind=ActorKind.AGENT_TOKEN, id=token.uuid)
        return token

    def _register(self, call: Call) -> Answer:
        fields = Fields.of(call.request)
        key = fields.text("key")
        call.trace.stack_key = key
        if not _STACK_KEY.fullmatch(key) or len(key.encode()) > self._limits.stack_key_bytes:
            raise Refusal(422, "key is invalid", rule=Rule.STACK_KEY)
        stack_type = fields.text("type")
        if stack_type not in _STACK_TYPES:
            raise Refusal(422, "type is not a known stack type", rule=Rule.STACK_TYPE)
        queue = self._queue(fields.text("queue_key"))
        stack, new = self._model.stacks.register(
            key=key,
            stack_type=stack_type,
            queue_key=queue.key,
            metadata=self._metadata(fields.raw("metadata")),
            at=call.now,
        )
        body = registered_stack(
            stack,
            dialects=self._model.settings.dialects,
            organization_id=self._model.organization_id,
            now=call.now,
        )
        return Answer(status=201 if new else 200, body=body)

    def _deregister(self, call: Call) -> Answer:
        self._model.stacks.deregister(self._stack(call), call.now)
        return Answer(status=204)

    def _list(self, call: Call) -> Answer:
        self._stack(call)
        dialect = _dialect(call)
        query = call.request.args
        known = {"queue_key", "limit", "after"} if dialect is Dialect.CURRENT else {"queue_key", "limit"}
        for name in sorted(set(query) - known):
            # Ignored, as unknown parameters are; a client that sends one is wrong all the same.
            call.trace.breaks(Rule.QUERY, f"unknown query parameter {name}")
        if not query.get("queue_key"):
            raise Refusal(400, "queue_key is required", rule=Rule.QUERY)
        queue = self._queue(query["queue_key"])
        self._model.queues.polled(queue, call.now)
        cursor = query.get("after") if dialect is Dialect.CURRENT else None
        jobs, more = self._model.jobs.scheduled(
            queue.key,
            after=position_of(cursor) if cursor else None,
            limit=min(self._listing_limit(query.get("limit")), self._limits.page_size_cap),
        )
        # The preview has no parameter to pass a cursor back by, so it shows none.
        end_cursor = cursor_behind(jobs[-1]) if jobs and dialect is Dialect.CURRENT else None
        body = {
            "jobs": self._list_or_null([listed_job(job, dialect, self._model.settings) for job in jobs]),
            "page_info": {"has_next_page": more, "end_cursor": end_cursor},
            "cluster_queue": listed_queue(queue),
        }
        return Answer(body=body)

    def _reserve(self, call: Call) -> Answer:
        stack = self._stack(call)
        fields = Fields.of(call.request)
        job_ids = fields.job_ids("job_uuids", maximum=self._limits.ids_per_request)
        call.trace.about(job_ids)
        seconds = fields.integer_between(
            "reservation_expiry_seconds",
            int(self._limits.reservation_default.total_seconds()),
            lowest=1,
            highest=int(self._limits.reservation_maximum.total_seconds()),
            rule=Rule.RESERVATION_TIME,
        )
        reserved: list[str] = []
        not_reserved: list[str] = []
        for job_id in job_ids:
            job = self._model.jobs.find(job_id)
            held = job is not None and self._model.reservations.reserve(
                job, stack.key, timedelta(seconds=seconds), call.now
            )
            (reserved if held else not_reserved).append(job_id)
        return Answer(body={"reserved": self._list_or_null(reserved), "not_reserved": self._list_or_null(not_reserved)})

    def _get_job(self, call: Call) -> Answer:
        self._stack(call)
        job = self._job(call)
        return Answer(body={"id": job.id, "env": self._map_or_null(job.env), "command": job.step.command})

    def _get_states(self, call: Call) -> Answer:
        self._stack(call)
        job_ids = Fields.of(call.request).job_ids("job_uuids", maximum=self._limits.ids_per_request)
        call.trace.about(job_ids)
        found = (self._model.jobs.find(job_id) for job_id in job_ids)
        states = {
            job.id: wire_state(job, self._model.settings) for job in found if job is not None and not job.withheld
        }
        return Answer(body={"states": self._map_or_null(states)})

    def _finish(self, call: Call) -> Answer:
        stack = self._stack(call)
        job = self._job(call)
        fields = Fields.of(call.request)
        detail = fields.text("detail")
        if len(detail.encode()) > self._limits.finish_detail_bytes:
            raise Refusal(
                422,
                f"detail is too long (maximum is {self._limits.finish_detail_bytes} bytes)",
                rule=Rule.DETAIL_LENGTH,
            )
        exit_status = fields.integer("exit_status", -1)
        self._require_unclaimed(job, stack)
        job.stack_finish = StackFinish(at=call.now, stack_key=stack.key, exit_status=exit_status, detail=detail)
        reason = "stack_error" if exit_status != 0 else None
        outcome = Outcome(exit_status=exit_status, signal_reason=reason, detail=detail)
        self._model.jobs.move(job, JobState.FINISHED, call.now, outcome=outcome)
        current = Dialect.CURRENT in self._model.settings.dialects
        return Answer(status=204) if current else Answer(body={})

    def _require_unclaimed(self, job: Job, stack: Stack) -> None:
        """A stack ends a job only while no agent and no other stack has it, and only once."""
        if job.stack_finish is not None:
            raise Refusal(404, "Job not found: it is finished", rule=Rule.FINISH_ONCE)
        if job.state in OVER:
            raise Refusal(404, f"Job not found: it is {job.state.value}")
        reservation = self._model.reservations.of(job.id)
        if reservation is not None and reservation.stack_key != stack.key:
            raise Refusal(422, "The job is reserved by another stack")
        if job.state not in {JobState.SCHEDULED, JobState.RESERVED}:
            raise Refusal(422, f"The job cannot be finished by a stack: it is {job.state.value}")

    def _notify(self, call: Call) -> Answer:
        self._stack(call)
        fields = Fields.of(call.request)
        if _dialect(call) is Dialect.PREVIEW:
            call.trace.about([call.job_id])
            self._model.notifications.create(
                self._model.jobs.find(call.job_id),
                fields.text("detail"),
                dialect=Dialect.PREVIEW,
                stated=None,
                at=call.now,
            )
            return Answer(body={})
        return self._notify_many(call, fields)

    def _notify_many(self, call: Call, fields: Fields) -> Answer:
        """Each notification stands alone: the valid ones are created, the others told by index."""
        items = fields.objects("notifications")
        maximum = self._limits.notifications_per_request
        if len(items) > maximum:
            raise Refusal(
                422,
                f"notifications has too many elements (maximum is {maximum})",
                rule=Rule.NOTIFICATIONS_PER_REQUEST,
            )
        call.trace.about(dict.fromkeys(str(item.raw("job_uuid")) for item in items))
        errors: defaultdict[str, list[int]] = defaultdict(list)
        untimed: defaultdict[str, list[Notification]] = defaultdict(list)
        for index, item in enumerate(items):
            try:
                stated = parse_time(item.raw("timestamp")) if item.has("timestamp") else None
                job = self._model.jobs.find(item.text("job_uuid"))
                created = self._model.notifications.create(
                    job, item.text("detail"), dialect=Dialect.CURRENT, stated=stated, at=call.now
                )
                if stated is None:
                    untimed[item.text("job_uuid")].append(created)
            except Refusal as refusal:
                errors[refusal.message].append(index)
                if refusal.rule is not None:
                    call.trace.breaks(refusal.rule, f"notifications[{index}]: {refusal.message}")
        notices_sent = [{"error": error, "indexes": indexes} for error, indexes in errors.items()]
        for job_id, created_untimed in untimed.items():
            self._model.notifications.mix_untimed(self._model.jobs[job_id], created_untimed)
        return Answer(body={"errors": self._list_or_null(notices_sent)})

    def _issue_tokens(self, call: Call) -> Answer:
        stack = self._stack(call)
        fields = Fields.of(call.request)
        job_ids = fields.job_ids("job_uuids", maximum=self._limits.ids_per_request)
        call.trace.about(job_ids)
        seconds = fields.integer_between(
            "token_lifetime_seconds",
            int(self._limits.token_lifetime_default.total_seconds()),
            lowest=1,
            highest=int(self._limits.token_lifetime_maximum.total_seconds()),
            rule=Rule.TOKEN_LIFETIME,
        )
        issued: list[dict[str, str]] = []
        not_issued: list[str] = []
        for job_id in job_ids:
            job = self._model.jobs.find(job_id)
            grant = job and self._model.acquisition_tokens.issue(job, stack.key, timedelta(seconds=seconds), call.now)
            if not grant:
                not_issued.append(job_id)
                continue
            value, token = grant
            issued.append(
                {
                    "job_uuid": job_id,
                    "job_acquisition_token": value,
                    "expires_at": iso(token.expires_at),
                }
            )
        tokens = self._list_or_null(issued)
        return Answer(status=201, body={"job_acquisition_tokens": tokens, "not_issued": self._list_or_null(not_issued)})

    def _identity(self, call: Call) -> Answer:
        token = self.authorise(call)
        settings = self._model.settings
        body = {
            "uuid": token.uuid,
            "description": token.description,
            "token_type": "cluster",
            "organization_slug": settings.organization_slug,
            "organization_uuid": self._model.organization_id,
            "cluster_uuid": self._model.cluster_id,
            "cluster_name": settings.cluster_name,
            "organization_queue_uuid": None,
            "organization_queue_key": None,
        }
        return Answer(body=body)

    def _list_or_null(self, values: Sequence[object]) -> Sequence[object] | None:
        """A list as a client in Go may have to read it."""
        return None if self._model.settings.null_lists and not values else values

    def _map_or_null(self, values: Mapping[str, str]) -> dict[str, str] | None:
        """A map, likewise."""
        return None if self._model.settings.null_maps and not values else dict(values)

    def _stack(self, call: Call) -> Stack:
        return self._model.stacks.get(call.stack_key, call.now)

    def _queue(self, key: str) -> Queue:
        queue = self._model.queues.named_by_a_stack(key)
        if queue is None:
            raise Refusal(404, "Queue not found")
        return queue

    def _job(self, call: Call) -> Job:
        call.trace.about([call.job_id])
        job = self._model.jobs.find(call.job_id)
        if job is None:
            raise Refusal(404, "Job not found")
        return job

    def _listing_limit(self, text: str | None) -> int:
        if text is None:
            return self._limits.listing_limit_default
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= self._limits.listing_limit_maximum:
            raise Refusal(400, f"limit must be between 1 and {self._limits.listing_limit_maximum}", rule=Rule.QUERY)
        return int(text)

    def _metadata(self, value: object) -> Mapping[str, str]:
        if not isinstance(value, dict):
            raise Refusal(400, "metadata is required and must be an object", rule=Rule.REQUIRED_FIELD)
        if not all(isinstance(text, str) for text in value.values()):
            raise Refusal(422, "metadata values must be strings", rule=Rule.METADATA)
        limits = self._limits
        if (
            len(value) > limits.metadata_keys
            or any(len(key) > limits.metadata_key_characters for key in value)
            or any(len(text) > limits.metadata_value_characters for text in value.values())
        ):
            raise Refusal(422, "metadata is too large", rule=Rule.METADATA)
        return value


def _dialect(call: Call) -> Dialect:
    """The dialect of a path that belongs to one only."""
    (dialect,) = call.endpoint.dialects
    return dialect
