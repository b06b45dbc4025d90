"""The dispatcher's entry point."""

import os
from datetime import timedelta
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from agent_stack.domain.triggers import Trigger
from agent_stack.wiring import Dispatcher


@cache
def _dispatcher() -> Dispatcher:
    return Dispatcher.of(os.environ)


def handle(event: dict[str, Any], context: LambdaContext) -> None:
    """One invocation: scheduled, or a wake-up."""
    dispatcher = _dispatcher()
    with dispatcher.deployment.invocation(timedelta(milliseconds=context.get_remaining_time_in_millis())):
        dispatcher(scheduled=Trigger.of(event) is Trigger.SCHEDULE)
