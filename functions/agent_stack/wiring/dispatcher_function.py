"""The dispatcher as Lambda calls it. A process of it imports nothing of the tracker, because it starts sooner so."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from agent_stack.dispatcher.chain import dispatcher_steps, in_flight_of, warm_up_of
from agent_stack.dispatcher.launch_permission import LaunchPermission
from agent_stack.dispatcher.reconcile import ReconcileQueues
from agent_stack.lease_loop import LeaseLoop
from agent_stack.wiring.deployment import Deployment
from agent_stack.wiring.loop import loop_of
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
        loop = replace(loop_of(deployment, cycles, idle_pause, in_flight.drain), observe=permission.observe)
        return cls(deployment=deployment, loop=loop, cycles=cycles)
