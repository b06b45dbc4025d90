"""Notifications to build pages. Everything that they need has one short try, and together they take one try's time.

A cycle does more urgent things than this. So nothing here waits for the rate of an endpoint or repeats a request, the
two requests that a notification may need first included: the listing that teaches the dialect, and a registration.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import TypeVar

from agent_stack.adapters.stacks_api import limits, models
from agent_stack.adapters.stacks_api.caller import Caller, Request
from agent_stack.adapters.stacks_api.dialect import Dialect, Paths
from agent_stack.adapters.stacks_api.learnt_dialect import LearntDialect
from agent_stack.adapters.stacks_api.notifications import batch, shown
from agent_stack.adapters.stacks_api.redaction import redacted
from agent_stack.adapters.stacks_api.registrations import Registrations
from agent_stack.domain.errors import (
    AgentStackError,
    GiveUpError,
    NotAskedError,
    NotFoundError,
    StackNotFoundError,
    TransientError,
)
from agent_stack.domain.identifiers import JobId, QueueKey, StackKey
from agent_stack.ports import Notification, Telemetry

LEARN_AGAIN_AFTER = timedelta(seconds=10)
"""After a listing that failed, notifications of that queue wait so long before they ask for the dialect again."""

ResultT = TypeVar("ResultT")


@dataclass(slots=True, kw_only=True)
class BuildPages:
    """Sends the notifications of one client."""

    caller: Caller
    registrations: Registrations
    dialect: LearntDialect
    register: Callable[[QueueKey, limits.Operation], None]
    stack_key: Callable[[QueueKey], StackKey]
    telemetry: Telemetry
    _learn_again_at: dict[QueueKey, timedelta] = field(default_factory=dict, init=False)

    def notify(self, queue: QueueKey, notifications: Sequence[Notification]) -> dict[JobId, AgentStackError]:
        """What became of those that were not created. NotAskedError: surely not created, and not refused either."""
        until = self.caller.monotonic() + limits.NOTIFY.timeout
        try:
            dialect = self.dialect.known or self._learnt_briefly(queue, until)
        except NotAskedError as error:
            return {notification.job_id: error for notification in notifications}
        if dialect is Dialect.PREVIEW:
            return self._each(queue, notifications, until)
        return self._in_batches(queue, notifications, until)

    def _learnt_briefly(self, queue: QueueKey, until: timedelta) -> Dialect:
        """The dialect, from one short listing in each. A process that lists no jobs may learn it here.

        Raises:
            NotAskedError: it is not known, because the listing failed now or a short while ago.
        """
        if self.caller.monotonic() < self._learn_again_at.get(queue, timedelta.min):
            raise NotAskedError("notify: the dialect of the service is not known yet")

        def listed(dialect: Dialect) -> Dialect:
            path = Paths(stack_key=self.stack_key(queue)).listing(dialect)
            params = {"queue_key": queue, "limit": "1"}
            request = Request(
                operation=limits.LIST, stack=self.stack_key(queue), method="GET", path=path, params=params
            )
            self.caller.ask(self._brief(request, until), models.Listing)
            return dialect

        try:
            return self.dialect.in_either(listed)
        except AgentStackError as error:
            self._learn_again_at[queue] = self.caller.monotonic() + LEARN_AGAIN_AFTER
            self.telemetry.info("notifications_wait_for_api_version", queue=queue, error=str(error))
            raise NotAskedError(f"notify: the dialect of the service is not known: {error}") from None

    def _each(
        self, queue: QueueKey, notifications: Sequence[Notification], until: timedelta
    ) -> dict[JobId, AgentStackError]:
        """One after the other. When one takes too long or fails, the others are not asked for in this call."""
        failed: dict[JobId, AgentStackError] = {}
        for number, notification in enumerate(notifications):
            if self.caller.monotonic() >= until - limits.NOTIFY.timeout / 2:
                return failed | _not_asked(notifications[number:])
            path = Paths(stack_key=self.stack_key(queue)).notifying_one(notification.job_id)
            request = self._request(limits.NOTIFY_ONE, queue, path, {"detail": shown(notification)})
            try:
                self._sent(queue, request, until, self.caller.tell)
            except TransientError as error:
                return failed | {notification.job_id: error} | _not_asked(notifications[number + 1 :])
            except AgentStackError as error:
                failed[notification.job_id] = error
        return failed

    def _in_batches(
        self, queue: QueueKey, notifications: Sequence[Notification], until: timedelta
    ) -> dict[JobId, AgentStackError]:
        failed: dict[JobId, AgentStackError] = {}
        ask = partial(_ask, self.caller)

        def one(chunk: Sequence[Notification], *, timed: bool) -> None:
            body = batch(chunk, self.caller.now() if timed else None)
            request = self._request(limits.NOTIFY, queue, Paths(stack_key=self.stack_key(queue)).notifying, body)
            try:
                answer = self._sent(queue, request, until, ask)
            except AgentStackError as error:
                failed.update({notification.job_id: error for notification in chunk})
                return
            refused = {
                index: GiveUpError(redacted(refusal.error or ""))
                for refusal in answer.errors
                for index in refusal.indexes
                if 0 <= index < len(chunk)
            }
            if refused and timed:
                # A clock that is ahead of Buildkite's makes times of the future. What was refused was not created.
                one([chunk[index] for index in sorted(refused)], timed=False)
            else:
                failed.update({chunk[index].job_id: error for index, error in refused.items()})

        for start in range(0, len(notifications), limits.MAX_IDS):
            one(notifications[start : start + limits.MAX_IDS], timed=True)
        return failed

    def _sent(self, queue: QueueKey, request: Request, until: timedelta, send: Callable[[Request], ResultT]) -> ResultT:
        """Send once. Where Buildkite has, or may have, forgotten the stack: one try to register it, then once more.

        Raises:
            NotAskedError: Buildkite does not know the stack, so nothing was created.
        """
        try:
            try:
                return send(self._brief(request, until))
            except NotFoundError as error:
                if not self.registrations.is_worth_another(queue, request.operation, error, self.caller.monotonic()):
                    raise
            self.telemetry.info("stack_unknown_registering_again", queue=queue)
            try:
                self.register(queue, limits.briefly(limits.REGISTER, until - self.caller.monotonic()))
            except AgentStackError as error:
                raise NotAskedError(f"{request.operation.name}: the stack is not registered: {error}") from None
            return send(self._brief(request, until))
        except StackNotFoundError as error:
            raise NotAskedError(str(error)) from None

    def _request(self, operation: limits.Operation, queue: QueueKey, path: str, body: dict[str, object]) -> Request:
        return Request(operation=operation, stack=self.stack_key(queue), method="POST", path=path, body=body)

    def _brief(self, request: Request, until: timedelta) -> Request:
        return replace(request, operation=limits.briefly(request.operation, until - self.caller.monotonic()))


def _ask(caller: Caller, request: Request) -> models.Notifications:
    return caller.ask(request, models.Notifications)


def _not_asked(notifications: Sequence[Notification]) -> dict[JobId, AgentStackError]:
    return {one.job_id: NotAskedError("notify: no time left for this build page") for one in notifications}
