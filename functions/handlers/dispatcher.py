"""The dispatcher's entry point."""

import os
from datetime import timedelta
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from agent_stack.domain.triggers import Trigger
from agent_stack.wiring.dispatcher_function import Dispatcher
from handlers import imported

imported()


@cache
def _dispatcher() -> Dispatcher:
    return Dispatcher.of(os.environ)


def handle(event: dict[str, Any], context: LambdaContext) -> dict[str, Any] | None:
    """One invocation: scheduled, a wake-up, or an inspection, which alone is answered."""
    remaining = timedelta(milliseconds=context.get_remaining_time_in_millis())
    if Trigger.of(event) is Trigger.INSPECTION:
        from agent_stack.wiring.inspection import answer_inspection  # noqa: PLC0415  (rare: a process starts sooner without)

        return answer_inspection(os.environ, remaining)
    dispatcher = _dispatcher()
    with dispatcher.deployment.invocation(remaining):
        dispatcher(scheduled=Trigger.of(event) is Trigger.SCHEDULE)
    return None
