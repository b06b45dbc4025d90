"""What CloudFormation asks of the tracker's function when it creates, updates or deletes the stack."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
from aws_lambda_powertools import Logger

from agent_stack.adapters.cloudformation import answer_stack_event
from agent_stack.adapters.powertools import PowertoolsTelemetry
from agent_stack.domain.errors import ConfigurationError
from agent_stack.domain.measures import NAMESPACE
from agent_stack.removal.deregister import Deregister
from agent_stack.removal.retry_until_permitted import RetryUntilPermitted
from agent_stack.removal.terminate_all import TerminateAll
from agent_stack.wiring.deployment import Deployment


def answer_for_stack(environment: Mapping[str, str], event: Mapping[str, Any], remaining: timedelta) -> None:
    """Answers CloudFormation when it creates, updates or deletes the stack. It always sends an answer.

    A deployment with wrong settings fails with their error message. A removal never fails.
    """
    try:
        deployment = Deployment(function="tracker", environment=environment)
    except ConfigurationError as error:
        _answer_wrong_settings(environment.get("DEPLOYMENT") or "unknown", event, error)
        return
    with deployment.invocation(remaining):
        answer_stack_event(
            event,
            on_deploy=partial(_deploy, deployment, new=event.get("RequestType") == "Create"),
            on_delete=lambda: _remove(deployment),
            http=deployment.http,
            telemetry=deployment.telemetry,
        )


def _deploy(deployment: Deployment, *, new: bool) -> Sequence[str]:
    """Checks the settings; a new deployment begins with stack keys that no other deployment has.

    Returns:
        what is wrong with single classes and subnets; see `Deployment.check`.
    """
    problems = deployment.check()
    if new:
        RetryUntilPermitted(clock=deployment.clock, deadline=deployment.deadline)(deployment.stack_keys.begin)
    return problems


def _remove(deployment: Deployment) -> tuple[str, ...]:
    """Terminates the VMs and deregisters the stack keys; returns one text for each problem."""
    ports, settings = deployment.ports, deployment.settings
    problems: tuple[str, ...] = ()
    if settings.terminate_on_delete and not settings.observe_only:
        terminate_all = TerminateAll(
            fleet=ports.fleet,
            leases=[deployment.lease_of("dispatcher"), deployment.lease_of("tracker")],
            clock=deployment.clock,
            deadline=deployment.deadline,
            ids=deployment.ids,
            telemetry=deployment.telemetry,
        )
        problems = terminate_all()
    deregister = Deregister(
        stacks=deployment.stacks,
        queues=settings.queues,
        stack_keys=deployment.stack_keys,
        telemetry=deployment.telemetry,
    )
    return (*problems, *deregister())


def _answer_wrong_settings(deployment: str, event: Mapping[str, Any], error: ConfigurationError) -> None:
    def fail() -> Sequence[str]:
        raise error

    telemetry = PowertoolsTelemetry(
        logger=Logger(service="tracker", location=None),
        namespace=NAMESPACE,
        deployment=deployment,
    )
    with httpx.Client() as http:
        answer_stack_event(event, on_deploy=fail, on_delete=lambda: (str(error),), http=http, telemetry=telemetry)
