"""The tracker's entry point."""

import os
from datetime import timedelta
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from agent_stack.domain.triggers import Trigger
from agent_stack.wiring.tracker_function import Tracker
from handlers import imported

imported()


@cache
def _tracker() -> Tracker:
    return Tracker.of(os.environ)


def handle(event: dict[str, Any], context: LambdaContext) -> None:
    """One invocation: scheduled, a wake-up, or a change of the CloudFormation stack."""
    remaining = timedelta(milliseconds=context.get_remaining_time_in_millis())
    if Trigger.of(event) is Trigger.STACK_EVENT:
        from agent_stack.wiring.stack_events import answer_for_stack  # noqa: PLC0415  (rare: a process starts sooner without)

        answer_for_stack(os.environ, event, remaining)
        return
    tracker = _tracker()
    with tracker.deployment.invocation(remaining):
        tracker(event)
