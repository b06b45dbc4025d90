"""The dispatcher's entry point."""

import os
from datetime import timedelta
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from agent_stack.domain.triggers import Trigger
from agent_stack.wiring import Dispatcher, answer_inspection


@cache
def _dispatcher() -> Dispatcher:
    return Dispatcher.of(os.environ)


def handle(event: dict[str, Any], context: LambdaContext) -> dict[str, Any] | None:
    """One invocation: scheduled, a wake-up, or an inspection, which alone is answered."""
    remaining = timedelta(milliseconds=context.get_remaining_time_in_millis())
    if Trigger.of(event) is Trigger.INSPECTION:
        return answer_inspection(os.environ, remaining)
    dispatcher = _dispatcher()
    with dispatcher.deployment.invocation(remaining):
        dispatcher(scheduled=Trigger.of(event) is Trigger.SCHEDULE)
    return None
