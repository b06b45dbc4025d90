"""The loop in which a function does its cycles, over a deployment's adapters."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from agent_stack.lease_loop import LeaseLoop
from agent_stack.wiring.deployment import Deployment


def loop_of(
    deployment: Deployment,
    work: Callable[[datetime, int], bool],
    idle_pause: timedelta | None,
    drain: Callable[[], Iterator[timedelta]],
) -> LeaseLoop:
    """That loop; see `LeaseLoop` for the other arguments."""
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
