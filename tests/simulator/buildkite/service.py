"""Takes requests to the model: route, fault, authorisation, rate limit, handler, access log."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from werkzeug import Request
from werkzeug.exceptions import HTTPException

from tests.simulator.buildkite.access_log import AccessRecord, ActorKind, Violation
from tests.simulator.buildkite.agent_api import AgentApi
from tests.simulator.buildkite.call import Answer, Call, Trace
from tests.simulator.buildkite.events import RequestRefused
from tests.simulator.buildkite.faults import Fault, FaultKind, Faults
from tests.simulator.buildkite.model import Model
from tests.simulator.buildkite.operations import Endpoint, url_map
from tests.simulator.buildkite.rate_limits import RateStatus
from tests.simulator.buildkite.rules import Refusal, Rule
from tests.simulator.buildkite.stacks_api import StacksApi

_NOT_FOUND = 404
_RATE_LIMITED = 429


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What goes back to the client. With `lost`, the connection ends instead."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    lost: bool = False
    late_seconds: float = 0.0


_BEFORE_THE_EFFECT = frozenset({FaultKind.REFUSED, FaultKind.NOT_ARRIVED})
_WITHOUT_ANSWER = frozenset({FaultKind.NOT_ARRIVED, FaultKind.ANSWER_LOST})


class Service:
    """The HTTP surface of the model. Called with the model locked."""

    def __init__(self, model: Model) -> None:
        self.faults = Faults()
        self._model = model
        self._stacks = StacksApi(model)
        self._handlers = {**self._stacks.handlers, **AgentApi(model).handlers}
        self._routes = url_map(model.settings.dialects).bind("buildkite")

    def serve(self, request: Request, now: datetime) -> Served:
        """Serve one request."""
        self._model.agenda.run_until(now)
        trace = Trace()
        endpoint: Endpoint | None = None
        fault: Fault | None = None
        try:
            endpoint, arguments = self._route(request)
            call = Call(request=request, endpoint=endpoint, arguments=arguments, now=now, trace=trace)
            fault = self.faults.next(endpoint.operation)
            answer = self._answer(call, fault)
            refusal = None
        except Refusal as refused:
            refusal = refused
            answer = self._refused(refused, fault)
        self._log(request, now, trace, endpoint, answer.status, refusal, fault)
        lost = fault is not None and fault.kind in _WITHOUT_ANSWER
        return _served(answer, fault, lost=lost)

    def _refused(self, refusal: Refusal, fault: Fault | None) -> Answer:
        """What the client is told; the access log keeps the whole reason."""
        if not refusal.json:
            return Answer(status=refusal.status, headers={**refusal.headers, "Content-Type": "text/html"})
        terse = refusal.status == _NOT_FOUND and fault is None and not self._model.settings.not_found_says_what
        message = "Not Found" if terse else refusal.message
        return Answer(status=refusal.status, body={"message": message, **refusal.extra}, headers=dict(refusal.headers))

    def _route(self, request: Request) -> tuple[Endpoint, Mapping[str, str]]:
        try:
            endpoint, arguments = self._routes.match(request.path, method=request.method)
        except HTTPException as error:
            raise Refusal(error.code or 404, "Not found") from None
        return endpoint, arguments

    def _answer(self, call: Call, fault: Fault | None) -> Answer:
        if fault is not None and fault.kind in _BEFORE_THE_EFFECT:
            raise Refusal(fault.status, fault.message or f"scripted fault: {fault.kind}", headers=fault.headers)
        if not self._model.available:
            raise Refusal(503, "The organization is unavailable")
        raw = call.request.environ.get("RAW_URI", "").partition("?")[0]
        if raw and any("." in value for value in call.arguments.values()) and "." in raw:
            call.trace.breaks(Rule.PATH_ENCODING, raw)
        status = self._count(call)
        try:
            answer = self._handlers[call.endpoint.operation](call)
        except Refusal as refusal:
            refusal.headers |= status.headers if status else {}
            raise
        return Answer(
            status=answer.status, body=answer.body, headers={**answer.headers, **(status.headers if status else {})}
        )

    def _count(self, call: Call) -> RateStatus | None:
        """Authorise a stack's request and count it against its limit; agents are not limited.

        Raises:
            Refusal: 401, or 429 with what the limit is.
        """
        limit = call.endpoint.requests_per_second(self._model.settings.limits.rates)
        if limit is None:
            return None
        if self._model.settings.requires_accept and "application/json" not in call.request.headers.get("Accept", ""):
            raise Refusal(406, "Accept must name application/json", rule=Rule.ACCEPT, json=False)
        token = self._stacks.authorise(call)
        who = call.arguments.get("stack_key", token.uuid)
        call.trace.stack_key = call.arguments.get("stack_key")
        settings = self._model.settings
        scope = f"{who}:{call.endpoint.operation}"
        status = self._model.windows.admit(scope, limit, call.now, enforced=settings.enforce_rate_limits)
        if status.exceeded:
            raise Refusal(
                _RATE_LIMITED,
                "Rate limit exceeded",
                rule=Rule.RATE_LIMIT,
                extra={"scope": scope, "limit": limit, "current": status.current, "reset": status.reset_seconds},
                headers={**status.headers, "Retry-After": str(status.reset_seconds)},
            )
        return status

    def _log(
        self,
        request: Request,
        now: datetime,
        trace: Trace,
        endpoint: Endpoint | None,
        status: int,
        refusal: Refusal | None,
        fault: Fault | None,
    ) -> None:
        record = AccessRecord(
            at=now,
            method=request.method,
            path=request.path,
            query=request.query_string.decode(errors="replace"),
            status=status,
            operation=endpoint.operation.value if endpoint else None,
            actor=trace.actor,
            stack_key=trace.stack_key,
            job_ids=trace.job_ids,
            refusal=refusal.message if refusal else None,
            fault=fault.kind.value if fault else None,
        )
        log = self._model.access_log
        log.add(record)
        broken = list(trace.broken)
        if refusal is not None and refusal.rule is not None:
            broken.append((refusal.rule, refusal.message))
        for rule, detail in broken:
            log.add_violation(Violation(at=now, rule=rule, method=request.method, path=request.path, detail=detail))
        if refusal is not None and (fault is None or trace.actor.kind is not ActorKind.NOBODY):
            self._model.events.publish(RequestRefused(at=now, record=record))


def _served(answer: Answer, fault: Fault | None, *, lost: bool) -> Served:
    headers = dict(answer.headers)
    if fault is not None and fault.body is not None:
        return Served(
            status=answer.status, headers={**headers, "Content-Type": "text/html"}, body=fault.body, lost=lost
        )
    if answer.body is None:
        return Served(status=answer.status, headers=headers, body=b"", lost=lost)
    headers["Content-Type"] = "application/json"
    body = json.dumps(answer.body).encode()
    if fault is not None and fault.kind is FaultKind.ANSWER_CUT:
        body = body[: len(body) // 2]
    late = fault.seconds if fault is not None else 0.0
    return Served(status=answer.status, headers=headers, body=body, lost=lost, late_seconds=late)
