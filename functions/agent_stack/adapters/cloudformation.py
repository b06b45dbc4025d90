"""CloudFormation's custom-resource protocol: a stack waits until it was answered, so it always is."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from agent_stack.domain.errors import ConfigurationError
from agent_stack.ports import Telemetry

PHYSICAL_ID = "agent-stack-keys"
PROBLEMS = "Problems"
MAX_TEXT_BYTES = 1_500  # as JSON; the whole answer may be 4 KB, and holds the text twice


def answer_stack_event(
    event: Mapping[str, Any],
    *,
    on_deploy: Callable[[], Sequence[str]],
    on_delete: Callable[[], Sequence[str]],
    http: httpx.Client,
    telemetry: Telemetry,
) -> None:
    """Do the resource's part and answer.

    Args:
        on_deploy: run when the stack is made or changed; what it raises fails a new stack with its message, and a
            ConfigurationError fails a change. What it returns is said in the answer, and stops nothing.
        on_delete: run when the resource goes; what it returns is said in the answer, and stops nothing.

    Source: the request and response objects of CloudFormation's custom resources.
    """
    problems: Sequence[str] = ()
    status = "SUCCESS"
    try:
        problems = on_delete() if event["RequestType"] == "Delete" else on_deploy()
    except Exception as error:  # noqa: BLE001  (an unanswered stack hangs for an hour)
        telemetry.error("stack_event_failed", error=str(error))
        problems = (str(error),)
        # A new stack that could not be looked at is not called good. A change is stopped by a wrong setting only: going
        # back to what worked is a change, too, and must not hang on a service that is out for a minute.
        wrong = event["RequestType"] == "Update" and isinstance(error, ConfigurationError)
        if wrong or event["RequestType"] == "Create":
            status = "FAILED"
    said = _cropped("; ".join(problems))
    answer = {
        "Status": status,
        "Reason": said,
        "PhysicalResourceId": event.get("PhysicalResourceId", PHYSICAL_ID),
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "Data": {PROBLEMS: said or "none"},  # an output of the stack
    }
    response = http.put(event["ResponseURL"], content=json.dumps(answer), headers={"Content-Type": ""}, timeout=10)
    response.raise_for_status()
    telemetry.info("stack_event_answered", request=str(event["RequestType"]), problems=len(problems))


def _cropped(text: str) -> str:
    while (size := len(json.dumps(text))) > MAX_TEXT_BYTES:
        text = text[: min(len(text) - 1, len(text) * MAX_TEXT_BYTES // size)]
    return text
