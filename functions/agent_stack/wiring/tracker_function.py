"""The tracker as Lambda calls it. A process of it imports nothing of the dispatcher."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from agent_stack.domain.triggers import Trigger, mentioned
from agent_stack.lease_loop import LeaseLoop
from agent_stack.tracker.chain import tracker_steps
from agent_stack.tracker.event_filter import EventFilter
from agent_stack.tracker.reconcile import ReconcileRuns
from agent_stack.wiring.deployment import Deployment
from agent_stack.wiring.loop import loop_of


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
        """Creates the tracker from environment variables.

        Raises:
            ConfigurationError: the first wrong setting.
        """
        deployment = Deployment(function="tracker", environment=environment)
        ports, settings = deployment.ports, deployment.settings
        event_filter = EventFilter(ledger=ports.ledger, clock=ports.clock, telemetry=ports.telemetry)
        cycles = ReconcileRuns(
            steps=tracker_steps(ports, settings.policy, job_tokens=settings.uses_job_tokens),
            event_filter=event_filter,
            clock=ports.clock,
        )
        return cls(
            deployment=deployment, loop=loop_of(deployment, cycles, None, lambda: iter(())), event_filter=event_filter
        )
