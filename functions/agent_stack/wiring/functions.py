"""Functions: dispatcher and tracker, as their Lambda entry points call them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self

import httpx
from aws_lambda_powertools import Logger

from agent_stack.adapters.cloudformation import answer_stack_event
from agent_stack.adapters.powertools import PowertoolsTelemetry
from agent_stack.dispatcher.chain import dispatcher_steps, in_flight_of, warm_up_of
from agent_stack.dispatcher.launch_permission import LaunchPermission
from agent_stack.dispatcher.reconcile import ReconcileQueues
from agent_stack.domain.errors import ConfigurationError
from agent_stack.domain.measures import NAMESPACE
from agent_stack.domain.triggers import Trigger, mentioned
from agent_stack.lease_loop import LeaseLoop
from agent_stack.removal.deregister import Deregister
from agent_stack.removal.retry_until_permitted import RetryUntilPermitted
from agent_stack.removal.terminate_all import TerminateAll
from agent_stack.tracker.chain import tracker_steps
from agent_stack.tracker.event_filter import EventFilter
from agent_stack.tracker.reconcile import ReconcileRuns
from agent_stack.wiring.deployment import Deployment
from agent_stack.wiring.options import dispatcher_options


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    """The dispatcher function: reserves jobs and launches VMs, cycle after cycle."""

    deployment: Deployment
    loop: LeaseLoop
    cycles: ReconcileQueues

    def __call__(self, *, scheduled: bool) -> None:
        """One invocation; see `LeaseLoop`."""
        self.cycles.begin(scheduled=scheduled)
        self.loop(scheduled=scheduled)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Creates the dispatcher from environment variables.

        Raises:
            ConfigurationError: the first wrong setting.
        """
        deployment = Deployment(function="dispatcher", environment=environment)
        ports, settings = deployment.ports, deployment.settings
        permission = LaunchPermission(read=deployment.lease.pauses, clock=deployment.clock)
        in_flight = in_flight_of(ports, permission)
        cycles = ReconcileQueues(
            steps=dispatcher_steps(ports, settings.policy, dispatcher_options(settings), in_flight),
            clock=ports.clock,
            warm_up=warm_up_of(ports, settings.policy),
        )
        idle_pause = None if settings.woken_by_jobs else settings.idle_poll
        loop = replace(_loop(deployment, cycles, idle_pause, in_flight.drain), observe=permission.observe)
        return cls(deployment=deployment, loop=loop, cycles=cycles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracker:
    """The tracker function: follows runs and VMs; exits when there are none."""

    deployment: Deployment
    loop: LeaseLoop
    event_filter: EventFilter

    def __call__(self, event: Mapping[str, Any]) -> None:
        """One invocation; see `LeaseLoop`. Events about other VMs and jobs end here, before any request."""
        scheduled = Trigger.of(event) is Trigger.SCHEDULE
        if scheduled or self.event_filter.mentions_ours(mentioned(event)):
            self.loop(scheduled=scheduled)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """See `Dispatcher.of`."""
        deployment = Deployment(function="tracker", environment=environment)
        ports, settings = deployment.ports, deployment.settings
        event_filter = EventFilter(ledger=ports.ledger, clock=ports.clock, telemetry=ports.telemetry)
        cycles = ReconcileRuns(
            steps=tracker_steps(ports, settings.policy, job_tokens=settings.uses_job_tokens),
            event_filter=event_filter,
            clock=ports.clock,
        )
        return cls(
            deployment=deployment, loop=_loop(deployment, cycles, None, lambda: iter(())), event_filter=event_filter
        )


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


def _loop(
    deployment: Deployment,
    work: Callable[[datetime, int], bool],
    idle_pause: timedelta | None,
    drain: Callable[[], Iterator[timedelta]],
) -> LeaseLoop:
    return LeaseLoop(
        work=work,
        drain=drain,
        idle_pause=idle_pause,
        lease=deployment.lease,
        clock=deployment.clock,
        ids=deployment.ids,
        deadline=deployment.deadline,
        telemetry=deployment.telemetry,
    )
