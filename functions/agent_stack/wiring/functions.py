"""The two functions as their entry points use them: a deployment, and what it does in one invocation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from typing import Any, Self

import httpx
from aws_lambda_powertools import Logger

from agent_stack.adapters.cloudformation import answer_stack_event
from agent_stack.adapters.powertools import PowertoolsTelemetry
from agent_stack.domain.errors import ConfigurationError
from agent_stack.domain.measures import NAMESPACE
from agent_stack.domain.triggers import Trigger, mentioned
from agent_stack.stages.clear import Clear
from agent_stack.stages.launches import Launches
from agent_stack.stages.news import News
from agent_stack.stages.shift import Shift
from agent_stack.stages.ticks import DispatcherTick, TrackerTick
from agent_stack.stages.withdraw import Withdraw
from agent_stack.wiring.chains import dispatcher_steps, launches_of, tracker_steps
from agent_stack.wiring.deployment import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    """Reserves jobs and launches VMs, tick after tick, as long as the invocation lasts."""

    deployment: Deployment
    shift: Shift
    launches: Launches

    def __call__(self, *, scheduled: bool) -> None:
        """One invocation; see `Shift`. Who is woken has a job waiting, most likely, and looks what is up at once."""
        self.launches.wanted = int(not scheduled)
        self.shift(scheduled=scheduled)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """The dispatcher of the deployment that the environment describes.

        Raises:
            ConfigurationError: the first setting that is wrong.
        """
        deployment = Deployment(function="dispatcher", environment=environment)
        launches = launches_of(deployment.ports, deployment.settings)
        steps = dispatcher_steps(deployment.ports, deployment.settings, launches)

        def work(now: datetime, fence: int) -> bool:
            return reduce(lambda tick, step: step(tick), steps, DispatcherTick(now=now, fence=fence)).busy

        settings = deployment.settings
        idle_pause = None if settings.woken_by_jobs else settings.idle_poll
        shift = _shift(deployment, work, idle_pause, launches.drain)
        return cls(deployment=deployment, shift=shift, launches=launches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracker:
    """Follows what lives; goes home when nothing does."""

    deployment: Deployment
    shift: Shift
    news: News

    def __call__(self, event: Mapping[str, Any]) -> None:
        """One invocation; see `Shift`. News of others end here, before anything is asked."""
        scheduled = Trigger.of(event) is Trigger.SCHEDULE
        if scheduled or self.news.concern_us(mentioned(event)):
            self.shift(scheduled=scheduled)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """See `Dispatcher.of`."""
        deployment = Deployment(function="tracker", environment=environment)
        ports = deployment.ports
        steps = tracker_steps(ports, deployment.settings)
        news = News(ledger=ports.ledger, clock=ports.clock, telemetry=ports.telemetry)

        def work(now: datetime, fence: int) -> bool:  # noqa: ARG001  (its effects need no fencing number)
            tick = reduce(lambda tick, step: step(tick), steps, TrackerTick(now=now))
            news.learn(tick)
            return tick.busy

        return cls(deployment=deployment, shift=_shift(deployment, work, None, lambda: None), news=news)


def answer_for_stack(environment: Mapping[str, str], event: Mapping[str, Any], remaining: timedelta) -> None:
    """The tracker's part when CloudFormation makes, changes or removes the stack: it always gets an answer.

    A deployment whose settings cannot work fails there and then, with the message; a removal never does.
    """
    try:
        deployment = Deployment(function="tracker", environment=environment)
    except ConfigurationError as error:
        _answer_that_it_is_wrong(environment.get("DEPLOYMENT") or "unknown", event, error)
        return
    with deployment.invocation(remaining):
        answer_stack_event(
            event,
            on_deploy=deployment.check,
            on_delete=lambda: _removed(deployment),
            http=deployment.http,
            telemetry=deployment.telemetry,
        )


def _removed(deployment: Deployment) -> tuple[str, ...]:
    """Everything that a removal does; what of it failed."""
    ports, settings = deployment.ports, deployment.settings
    problems: tuple[str, ...] = ()
    if settings.terminate_on_delete and not settings.observe_only:
        clear = Clear(
            fleet=ports.fleet,
            leases=[deployment.lease_of("dispatcher"), deployment.lease_of("tracker")],
            clock=deployment.clock,
            deadline=deployment.deadline,
            ids=deployment.ids,
            telemetry=deployment.telemetry,
        )
        problems = clear()
    withdraw = Withdraw(stacks=deployment.stacks, queues=settings.queues, telemetry=deployment.telemetry)
    return (*problems, *withdraw())


def _answer_that_it_is_wrong(deployment: str, event: Mapping[str, Any], error: ConfigurationError) -> None:
    def fail() -> None:
        raise error

    telemetry = PowertoolsTelemetry(
        logger=Logger(service="tracker", location=None),
        namespace=NAMESPACE,
        deployment=deployment,
    )
    with httpx.Client() as http:
        answer_stack_event(event, on_deploy=fail, on_delete=lambda: (str(error),), http=http, telemetry=telemetry)


def _shift(
    deployment: Deployment,
    work: Callable[[datetime, int], bool],
    idle_pause: timedelta | None,
    drain: Callable[[], None],
) -> Shift:
    return Shift(
        work=work,
        drain=drain,
        idle_pause=idle_pause,
        lease=deployment.lease,
        clock=deployment.clock,
        ids=deployment.ids,
        deadline=deployment.deadline,
        telemetry=deployment.telemetry,
    )
