"""A pause before a request, after which the request may be too late.

Lambda freezes a process between two invocations, also in the midst of a pause of one of its threads. When it goes on,
others may have decided about what it was about to send.
"""

from datetime import timedelta

from agent_stack.ports import Clock

LATE = timedelta(seconds=2)
"""A pause that takes so much longer than it should was none. A small function that is short of CPU is late by less."""


def paused(clock: Clock, pause: timedelta) -> bool:
    """Waits for that long. False if the process stood still meanwhile, so that nothing may be sent any more."""
    until = clock.monotonic() + pause
    clock.sleep(pause)
    return clock.monotonic() - until <= LATE
